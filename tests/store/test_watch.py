"""The watch over a database that is played: it fails, hangs and recovers as a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from app.errors import SchemaBehind, StoreUnavailable
from app.store import watch as module
from app.store.watch import CHECK_EVERY, CHECK_PATIENCE, LONGEST_REST, DatabaseWatch


@dataclass
class Played:
    """What a check comes to: an error, nothing for ever, or all is well."""

    error: Exception | None = None
    hangs: bool = False
    checks: int = 0
    dropped: int = 0

    async def check(self) -> None:
        self.checks += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    def drop(self) -> None:
        self.dropped += 1


@pytest.fixture
def played() -> Played:
    return Played()


@pytest_asyncio.fixture
async def watch(played: Played) -> AsyncIterator[DatabaseWatch]:
    watch = DatabaseWatch(played.check, on_down=played.drop)
    await watch.check_now()
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_it_believes_a_report_and_checks_until_all_is_well(
    watch: DatabaseWatch, played: Played
) -> None:
    assert watch.is_up
    played.error = StoreUnavailable("gone")
    watch.report_down("a write failed")
    assert (watch.is_up, watch.reason) == (False, "a write failed")
    await asyncio.sleep(CHECK_EVERY * 1.5)
    assert watch.reason == "gone", "the newest that is known"
    played.error = None
    async with asyncio.timeout(CHECK_EVERY * 3):
        await watch.wait_until_up()
    assert watch.is_up
    assert played.dropped == 1, "connections are dropped once an outage"


async def test_its_end_is_told_once(played: Played) -> None:
    told: list[str] = []
    watch = DatabaseWatch(played.check, on_up=lambda: told.append("up"))
    await watch.check_now()
    await watch.check_now()
    assert told == ["up"]
    watch.report_down("a write failed")
    await watch.check_now()
    assert told == ["up", "up"]
    assert watch.is_up


async def test_a_hiccup_is_over_at_once(watch: DatabaseWatch) -> None:
    watch._up_since -= module.STEADY + 1
    watch.report_down("a connection was reset")
    async with asyncio.timeout(CHECK_EVERY / 2):
        await watch.wait_until_up()


async def test_where_only_writes_fail_it_is_left_alone_longer_and_longer(
    watch: DatabaseWatch, played: Played
) -> None:
    watch._up_since -= module.STEADY + 1
    rests = []
    for _ in range(7):
        watch.report_down("no room on its disk")
        rests.append(watch._rest)
        watch._report_up()
    assert rests[0] == 0
    assert rests[1] == CHECK_EVERY
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST


async def test_an_outage_that_checks_have_seen_adds_no_rest(
    watch: DatabaseWatch, played: Played
) -> None:
    watch._up_since -= module.STEADY + 1
    for _ in range(3):
        played.error = StoreUnavailable("restarting")
        watch.report_down("a write failed")
        assert watch._rest == 0
        await asyncio.sleep(CHECK_EVERY / 2)
        assert watch.reason == "restarting"
        played.error = None
        async with asyncio.timeout(CHECK_EVERY * 3):
            await watch.wait_until_up()


async def test_a_check_that_hangs_is_bounded_and_the_next_one_is_made(
    watch: DatabaseWatch, played: Played
) -> None:
    played.hangs = True
    async with asyncio.timeout(CHECK_PATIENCE + 1):
        await watch.check_now()
    assert watch.reason is not None
    assert "did not answer" in watch.reason
    played.hangs = False
    async with asyncio.timeout(CHECK_PATIENCE + 2):
        await watch.wait_until_up()


async def test_a_schema_that_is_behind_is_said_once_and_then_waited_for(
    watch: DatabaseWatch, played: Played
) -> None:
    played.error = SchemaBehind("run `dlr migrate`")
    with capture_logs() as logs:
        with pytest.raises(SchemaBehind):
            await watch.check_now()
        await asyncio.sleep(CHECK_EVERY * 2.5)
    assert played.checks >= 3
    assert [line["detail"] for line in logs if line["event"] == "schema_behind"] == [
        "run `dlr migrate`"
    ]
    played.error = None
    async with asyncio.timeout(CHECK_EVERY * 3):
        await watch.wait_until_up()


async def test_whatever_a_check_raises_the_watch_goes_on(
    watch: DatabaseWatch, played: Played
) -> None:
    played.error = ZeroDivisionError("nobody foresaw this")
    await watch.check_now()
    assert watch.reason is not None
    assert "ZeroDivisionError" in watch.reason
    await asyncio.sleep(CHECK_EVERY * 1.5)
    played.error = None
    async with asyncio.timeout(CHECK_EVERY * 3):
        await watch.wait_until_up()


async def test_strangers_are_told_neither_the_host_nor_the_database(played: Played) -> None:
    name = "PostgreSQL at db1:5432, database dlr"
    watch = DatabaseWatch(played.check, name=name, patience=0.05)
    for error, hangs in ((StoreUnavailable(f"{name}: refused"), False), (None, True)):
        played.error, played.hangs = error, hangs
        await watch.check_now()
        assert watch.reason is not None
        assert watch.reason.startswith(f"{name}: ")
        assert watch.public_reason in ("refused", "it did not answer within 0.05 s")
    played.hangs = False
    await watch.check_now()
    assert watch.public_reason is None
