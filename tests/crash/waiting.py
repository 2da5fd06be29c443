"""Waiting for what another process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

LOOK_EVERY = 0.02


async def until(condition: Callable[[], bool], *, within: float) -> float:
    """Return when the condition holds; answers the seconds it took. Raises TimeoutError."""
    began = time.monotonic()
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  nobody in this process could set an event
            await asyncio.sleep(LOOK_EVERY)
    return time.monotonic() - began
