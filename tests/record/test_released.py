"""The queue is released while a process is away, which then comes back with what it had sent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import pytest

from app.model.status import Status
from app.store.presence import PresenceStore
from tests.record.acts import answered, beat, told, two, work
from tests.record.rewinding import Rewinder
from tests.record.theatre import Process, Theatre

pytestmark = pytest.mark.usefixtures("no_waiting")


async def forgotten_and_released(
    theatre: Theatre, rewinder: Rewinder, first: Process, second: Process, answer: str
) -> UUID:
    """The first process has the message on the wire and dies; the database forgets that; an
    operator lets the queue go on without it; the second one takes the message.
    """
    theatre.batch(second, 1, None)
    await told(theatre)
    await beat(theatre)
    moment = await asyncio.to_thread(rewinder.keep)
    await beat(theatre)
    await work(first)
    (message_id,) = theatre.messages
    if answer == "none yet":
        theatre.iovox.texts[message_id] += 1
    else:
        assert await answered(theatre, answer) == 1
    await first.kill()
    await asyncio.to_thread(rewinder.put_back, moment)
    await beat(theatre)
    await work(second)
    assert not theatre.iovox.asked  # it waits for the first one
    presence = PresenceStore(second.runtime.database)
    await presence.release()
    presence.close()
    await work(second)
    assert len(theatre.iovox.asked) == 1
    return message_id


async def due_again(theatre: Theatre, process: Process) -> None:
    """Whatever is queued is tried now."""
    async with process.runtime.database.write() as connection:
        await connection.exec_driver_sql(
            "update messages set next_attempt_at = created_at where state = 'QUEUED'"
        )
    for each in theatre.alive:
        await work(each)


async def state(process: Process, message_id: UUID) -> Status:
    found = await process.runtime.messages.find(message_id)
    assert found is not None
    return found.message.state


@pytest.mark.parametrize("comes_back", ["after it", "during it"])
@pytest.mark.parametrize("answer", ["lost", "none yet"])
async def test_it_is_not_sent_again_after_an_attempt_that_did_not_send_it(
    database_url: str, tmp_path: Path, rewinder: Rewinder, comes_back: str, answer: str
) -> None:
    """The second lease has the number of the first: the one "surely not sent" is not the other."""
    theatre = Theatre(database_url, tmp_path)
    async with two(theatre) as (first, second):
        message_id = await forgotten_and_released(theatre, rewinder, first, second, answer)
        if comes_back == "after it":
            await answered(theatre, "not sent")
            assert await state(second, message_id) is Status.QUEUED
        await first.start()
        await beat(theatre)
        await answered(theatre, "not sent")
        await due_again(theatre, second)
        await answered(theatre)
        assert theatre.iovox.texts[message_id] == 1
        assert await state(second, message_id) is Status.UNCONFIRMED
        assert not theatre.iovox.asked


async def test_what_neither_has_sent_is_tried_again(
    database_url: str, tmp_path: Path, rewinder: Rewinder
) -> None:
    theatre = Theatre(database_url, tmp_path)
    async with two(theatre) as (first, second):
        message_id = await forgotten_and_released(theatre, rewinder, first, second, "not sent")
        await answered(theatre, "not sent")
        await first.start()
        await beat(theatre)
        await due_again(theatre, second)
        await answered(theatre)
        assert theatre.iovox.texts[message_id] == 1
        assert await state(second, message_id) is Status.SUBMITTED


async def test_what_was_sent_by_the_other_one_stays_so(
    database_url: str, tmp_path: Path, rewinder: Rewinder
) -> None:
    """Both have sent it: that is the price of a release. It is not sent a third time."""
    theatre = Theatre(database_url, tmp_path)
    async with two(theatre) as (first, second):
        message_id = await forgotten_and_released(theatre, rewinder, first, second, "lost")
        await first.start()
        await beat(theatre)
        await answered(theatre)
        await due_again(theatre, second)
        await answered(theatre)
        assert theatre.iovox.texts[message_id] == 2
        assert await state(second, message_id) is Status.SUBMITTED
