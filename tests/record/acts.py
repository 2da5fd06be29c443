"""What tests of one order of events do with a theatre: everything happens when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from tests.record.theatre import Process, Theatre


@asynccontextmanager
async def two(theatre: Theatre) -> AsyncIterator[tuple[Process, Process]]:
    theatre.install()
    for _ in range(2):
        await theatre.add()
    await beat(theatre)
    first, second = theatre.processes
    try:
        yield first, second
    finally:
        asyncio.get_running_loop().set_task_factory(None)
        for process in theatre.alive:
            await process.kill()


async def beat(theatre: Theatre) -> None:
    for _ in range(2):
        for process in theatre.alive:
            await process.beat()
    await theatre.settle()


async def told(theatre: Theatre) -> None:
    """All callers have their answers."""
    _, waiting = await asyncio.wait(set(theatre.pending), timeout=20)
    assert not waiting


async def work(process: Process) -> None:
    """One look at the queue, and what it finds is on the wire."""
    await process.run(process.runtime.queue._poll())
    await process.theatre.settle()


async def answered(theatre: Theatre, answer: str | None = None) -> int:
    """iovox accepts whatever it was sent, or ``answer`` says otherwise; returns how many."""
    asked = list(theatre.iovox.asked)
    theatre.iovox.asked.clear()
    for one in asked:
        if answer != "not sent":
            theatre.iovox.texts[one.message_id] += 1
        one.answer.set_result(answer or uuid4().hex)
    for process in theatre.alive:
        if attempts := set(process.runtime.queue._attempts):
            _, under_way = await asyncio.wait(attempts, timeout=20)
            assert not under_way
    await theatre.settle()
    return len(asked)
