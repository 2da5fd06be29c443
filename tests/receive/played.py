"""A recorder that behaves as a test wants, and the parts of the receive journey around it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.errors import StoreUnavailable
from app.receive.recorder import Call, Recorder


@dataclass
class PlayedRecorder(Recorder):
    """Notes what it is given; takes ``seconds``, then raises ``error`` where there is one."""

    seconds: float = 0.0
    error: Exception | None = None
    batches: list[list[Call]] = field(default_factory=list)
    landed: list[Call] = field(default_factory=list)
    landed_some: asyncio.Event = field(default_factory=asyncio.Event)

    async def record(self, calls: Sequence[Call]) -> None:
        self.batches.append(list(calls))
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        self.landed += calls
        self.landed_some.set()


AWAY = StoreUnavailable("connection refused")


async def never_down() -> None:
    """A check that finds nothing wrong."""
