"""Background tasks, waiting for events, and closing in order, each with a time limit. Generic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

Close = Callable[[], Awaitable[object]]

log = structlog.get_logger(__name__)


class Background:
    """Tasks that run until they are cancelled. One that fails is logged as critical."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    async def cancel(self, *, patience: float) -> None:
        """Cancel all tasks, the newest first, and wait for them at most ``patience`` seconds:
        a database call on a silent connection may take many seconds to end.
        """
        for task in reversed(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=patience)


async def wait_for_event(event: asyncio.Event, within: float | None) -> bool:
    """Wait for the event; False if ``within`` seconds pass without it. None waits for ever."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def close_in_order(parts: Mapping[str, Close], *, deadline: float) -> None:
    """Close each part; one that has not finished at the loop time ``deadline`` is abandoned."""
    for name, close in parts.items():
        try:
            async with asyncio.timeout_at(deadline):
                await close()
        except TimeoutError:
            log.error("stop_took_too_long", part=name)
        except Exception:
            log.exception("stop_failed", part=name)


def _log_failure(task: asyncio.Task[None]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        log.critical("task_died", task=task.get_name(), todo="restart us", exc_info=error)
