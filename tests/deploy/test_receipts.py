"""Receipts through nginx while its replicas are restarted or killed: not one is refused."""

from __future__ import annotations

import logging

import pytest

from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, Service, stored
from tests.support.load import drive
from tests.support.nginx import Nginx

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(90 + 60 * ROUNDS)]


@pytest.mark.parametrize("how", ["rolling restart", "kill -9"])
async def test_not_one_receipt_is_refused(
    nginx: Nginx, replicas: list[Service], postgres_url: str, how: str
) -> None:
    ledger = Ledger(how.replace(" ", "-"), HEADERS)
    async with Clients(nginx.port, ledger, per_second=300, patience=0.2) as clients:
        for _ in range(ROUNDS):
            for replica in replicas:
                await clients.answered(60, within=20)
                if how == "kill -9":
                    replica.kill()
                else:
                    await replica.terminate()
                await clients.answered(60, within=20)
                await replica.fork()
        await clients.answered(60, within=20)
    log.info("%s: %s %s", how, dict(ledger.statuses), dict(clients.result.errors))
    assert not clients.result.errors
    assert set(ledger.statuses) == {200}
    for replica in replicas:
        await replica.until_drained()
    faults = ledger.faults(await stored(postgres_url))
    if how == "kill -9":  # one that was committed, unanswered, went to the other replica, too
        faults = [fault for fault in faults if "times_seen" not in fault]
    assert not faults, faults[:10]


async def test_a_replica_that_hangs_delays_receipts_and_loses_none(
    nginx: Nginx, replicas: list[Service], postgres_url: str
) -> None:
    """It accepts connections and answers nothing: after 5 s nginx asks the other."""
    ledger = Ledger("hangs", HEADERS, repeat=0)
    requests = [ledger.next_request() for _ in range(20)]
    with replicas[0].paused():
        result = await drive("127.0.0.1", nginx.port, requests, 20, ledger.on_answer)
    assert not result.errors
    assert ledger.statuses == {200: 20}
    assert 4 < ledger.slowest < 9
    assert not [f for f in ledger.faults(await stored(postgres_url)) if "times_seen" not in f]
