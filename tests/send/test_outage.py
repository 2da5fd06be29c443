"""An outage of iovox under a steady load: each message is sent once, in order, at the rate.

With DLR_TEST_LONG=1 it is down for 60 s; otherwise for 6.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from bisect import bisect_left
from collections.abc import AsyncIterator

import pytest

from tests.send.processes import LONG, Stage, stage, wait_for
from tests.support.load import drive

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

DOWN = 60.0 if LONG else 6.0
UP_BEFORE, UP_AFTER = 2.0, 3.0
PER_SECOND = 50 if LONG else 25
RATE = 2 * PER_SECOND
"""DLR_IOVOX_RATE, in messages a second."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("outage", ["503", "500"])
def test_each_is_sent_once_in_order_within_the_rate(postgres_url: str, outage: str) -> None:
    if outage != "503" and not LONG:
        pytest.skip("one outage is enough, but for DLR_TEST_LONG=1")
    with stage(postgres_url, DLR_IOVOX_RATE=str(RATE)) as here:
        here.behave(answer_delay=0.05)
        here.start()
        reported = asyncio.run(_load(here, outage))
        count = len(reported)
        wait_for(lambda: here.accepted() >= count, "the queue to drain", patience=DOWN + 60)
        time.sleep(1)  # for sends that should not happen
        sent = here.sent_at()
        assert here.counts()["by_message_id"] == dict.fromkeys(reported, 1)
    _check_rate(sorted(sent.values()))
    _check_order(reported, list(sent))


async def _load(here: Stage, outage: str) -> list[str]:
    """A steady load through the outage; returns the ids in the order of the requests."""
    reported: list[tuple[int, str, str]] = []

    def on_body(number: int, body: bytes) -> None:
        response = json.loads(body)
        reported.append((number, response["id"], response["status"]))

    down = threading.Timer(UP_BEFORE, here.behave, kwargs={"down": outage})
    up = threading.Timer(UP_BEFORE + DOWN, here.behave, kwargs={"down": None})
    down.start()
    up.start()
    result = await drive("127.0.0.1", here.ports[0], _steady(here), 64, on_body=on_body)
    down.join()
    up.join()
    assert set(result.statuses) <= {201, 202}, result
    assert not result.errors
    statuses = [status for _, _, status in reported]
    assert statuses.count("QUEUED") > PER_SECOND * DOWN * 0.8
    assert set(statuses) == {"SUBMITTED", "QUEUED"}
    return [message_id for _, message_id, _ in sorted(reported)]


async def _steady(here: Stage) -> AsyncIterator[bytes]:
    request = here.request()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number in range(int(PER_SECOND * (UP_BEFORE + DOWN + UP_AFTER))):
        await asyncio.sleep(max(0.0, start + number / PER_SECOND - loop.time()))
        yield request


def _check_rate(seconds: list[float]) -> None:
    """No second has more than the rate at iovox, with an allowance for network jitter."""
    most = max(bisect_left(seconds, moment + 1.0) - n for n, moment in enumerate(seconds))
    assert most <= RATE * 1.15, f"{most} in one second"


def _check_order(reported: list[str], sent: list[str]) -> None:
    """No message is overtaken by one that was requested seconds later."""
    place = {message_id: number for number, message_id in enumerate(reported)}
    behind = 0
    worst = 0
    for message_id in sent:
        behind = max(behind, place[message_id])
        worst = max(worst, behind - place[message_id])
    assert worst <= PER_SECOND * 5, f"overtaken by {worst}, of {PER_SECOND} a second"
