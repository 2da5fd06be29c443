"""Hosts whose clocks are wrong, or are set while they run: real processes under libfaketime."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.send.processes import Stage, stage, wait_for
from tests.send.world import HELLO
from tests.support.faketime import FakeClock
from tests.support.long import POSTGRESQL, cases, on

pytestmark = [pytest.mark.timeout(120), pytest.mark.slow]

PATIENCE = 8.0
"""Seconds that any request may take; iovox takes a tenth of one."""


class Load:
    """A send every few milliseconds to each replica in turn, until it is told to end."""

    def __init__(self, here: Stage, *, every: float = 0.05) -> None:
        self._here = here
        self._every = every
        self.statuses: Counter[str] = Counter()
        self.ids: list[str] = []
        self.longest = 0.0

    async def run(self, *steps: tuple[float, Callable[[], None]], then: float) -> None:
        """Do each of ``steps`` so many seconds after the one before, under the load."""
        async with (
            httpx.AsyncClient(trust_env=False, timeout=30) as client,
            asyncio.TaskGroup() as g,
        ):
            ending = g.create_task(_act(*steps, (then, lambda: None)))
            number = 0
            while not ending.done():
                port = self._here.ports[number % len(self._here.ports)]
                g.create_task(self._send(client, f"http://127.0.0.1:{port}/v1/messages"))
                number += 1
                await asyncio.sleep(self._every)

    async def _send(self, client: httpx.AsyncClient, url: str) -> None:
        began = time.monotonic()
        response = await client.post(url, json=HELLO, headers=self._here.headers)
        self.longest = max(self.longest, time.monotonic() - began)
        assert response.status_code in (201, 202), response.text
        self.statuses[response.json()["status"]] += 1
        self.ids.append(response.json()["id"])


async def _act(*steps: tuple[float, Callable[[], None]]) -> None:
    for after, do in steps:
        await asyncio.sleep(after)
        await asyncio.to_thread(do)


def messages(here: Stage) -> dict[str, dict[str, Any]]:
    """Every message by its id."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        found: dict[str, dict[str, Any]] = {}
        path = "/v1/messages?limit=500"
        while path:
            url = f"http://127.0.0.1:{here.ports[0]}{path}"
            response = client.get(url, headers=here.headers).raise_for_status()
            found |= {message["id"]: message for message in response.json()["messages"]}
            path = response.links["next"]["url"] if "next" in response.links else ""
    return found


def scrape(port: int, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


@pytest.mark.postgresql
@pytest.mark.parametrize("minutes", cases(10, -10))
def test_replicas_whose_clocks_differ_leave_each_others_messages_alone(
    postgres_url: str, tmp_path: Path, minutes: int
) -> None:
    clock = FakeClock(tmp_path, timedelta(minutes=minutes))
    with stage(postgres_url) as here:
        here.behave(answer_delay=1.5)  # a sweep each second sees them SENDING
        right = here.start()
        wrong = here.start(**clock.env)
        load = Load(here)
        asyncio.run(load.run(then=3))
        queued = here.queue(30, here.ports[0]) + here.queue(30, here.ports[1])
        count = len(load.ids) + len(queued)
        wait_for(lambda: here.accepted() >= count, "the queue to drain", patience=30)
        wait_for(
            lambda: Counter(m["status"] for m in messages(here).values()) == {"SUBMITTED": count},
            "all to be SUBMITTED",
            patience=10,
        )
        assert load.statuses == {"SUBMITTED": len(load.ids)}
        assert set(here.counts()["by_message_id"].values()) == {1}
        made = [datetime.fromisoformat(m["created_at"]) for m in messages(here).values()]
        assert max(abs(datetime.now(UTC) - at) for at in made) < timedelta(minutes=1)
        assert abs(scrape(here.ports[0], "dlr_clock_offset_seconds")) < 1
        assert abs(scrape(here.ports[1], "dlr_clock_offset_seconds") - minutes * 60) < 1
        assert "host_clock_differs" in wrong.output()
        assert "host_clock_differs" not in right.output()
        clock.set(timedelta(0))
        wait_for(
            lambda: abs(scrape(here.ports[1], "dlr_clock_offset_seconds")) < 1,
            "the gauge to follow",
            patience=10,
        )


@on(POSTGRESQL)
@pytest.mark.parametrize("hours", cases(-1, 1))
def test_a_clock_that_is_set_while_it_runs_holds_nothing_up(
    database_url: str, tmp_path: Path, hours: int
) -> None:
    """Also what waited for a retry when it was set back, and what is scheduled."""
    clock = FakeClock(tmp_path)
    with stage(database_url) as here:
        here.behave(answer_delay=0.1)
        here.start(**clock.env)
        load = Load(here)

        def set_clock() -> None:
            clock.set(timedelta(hours=hours))

        asyncio.run(
            load.run(
                (1, lambda: here.behave(down="503")),
                (1, set_clock),
                (1, lambda: here.behave(down=None)),
                then=6,  # until the breaker's next probe
            )
        )
        count = len(load.ids)
        wait_for(lambda: here.accepted() >= count, "the retries", patience=20)
        assert load.longest < PATIENCE
        assert set(here.counts()["by_message_id"].values()) == {1}
        wait_for(
            lambda: Counter(m["status"] for m in messages(here).values()) == {"SUBMITTED": count},
            "all to be SUBMITTED",
            patience=10,
        )


def test_what_waited_when_the_clock_was_set_back_goes_on_after_a_restart(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Also one that was being sent when its process was killed: it does not wait for an hour.

    On SQLite: PostgreSQL's clock is its server's, which no test sets.
    """
    clock = FakeClock(tmp_path, timedelta(hours=1))
    with stage(sqlite_url, DLR_IOVOX_READ_TIMEOUT="1") as here:
        here.behave(down="503")
        first = here.start(**clock.env)
        (waiting,) = here.queue(1)
        with httpx.Client(trust_env=False, timeout=10) as client:
            url = f"http://127.0.0.1:{here.ports[0]}/v1/messages/{waiting}"

            def has_been_tried() -> bool:
                body = client.get(url, headers=here.headers).json()
                return len(body["history"]) >= 2

            wait_for(has_been_tried, "a first attempt", patience=10)
        first.kill()
        clock.set(timedelta(0))
        here.behave(down=None)
        here.start(**clock.env)
        wait_for(lambda: here.has(waiting), "the retry", patience=10)


def test_the_same_key_is_the_same_request_on_a_host_whose_clock_is_wrong(
    postgres_url: str, tmp_path: Path
) -> None:
    with stage(postgres_url) as here:
        here.start()
        here.start(**FakeClock(tmp_path, timedelta(hours=25)).env)
        key = {"Idempotency-Key": str(uuid4())}
        answers = [
            httpx.post(
                f"http://127.0.0.1:{port}/v1/messages",
                json=HELLO,
                headers=here.headers | key,
                trust_env=False,
            ).json()["id"]
            for port in [*here.ports, *here.ports]
        ]
        assert len(set(answers)) == 1
