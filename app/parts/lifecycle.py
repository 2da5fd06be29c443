"""Work in the background, its rests, and parts closed in order, all within bounds. Generic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

Close = Callable[[], Awaitable[object]]

log = structlog.get_logger(__name__)


class Background:
    """Tasks that run until they are told to stop. One that ends by itself with an error is loud."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_say_if_it_died)
        self._tasks.append(task)

    async def cancel(self, *, patience: float) -> None:
        """End them all, the youngest first. One that hangs is not waited for beyond the patience:
        a database call on a silent connection may take many seconds to end.
        """
        for task in reversed(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)


async def wait_for_event(event: asyncio.Event, within: float | None) -> bool:
    """Wait for the event; False where so many seconds pass without it. None waits for ever."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def close_in_order(parts: Mapping[str, Close], *, deadline: float) -> None:
    """Close each part; one that has not ended by the loop's time ``deadline`` is given up."""
    for name, close in parts.items():
        try:
            async with asyncio.timeout_at(deadline):
                await close()
        except TimeoutError:
            log.error("stop_took_too_long", part=name)
        except Exception:
            log.exception("stop_failed", part=name)


def _say_if_it_died(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("task_died", task=task.get_name(), todo="restart us", exc_info=error)
