"""Counts failed authentications and refused requests for the audit, by address and minute.

Anybody can cause as many as they like. So they are counted in memory and written together, about
once a second: that costs the database next to nothing, and no caller waits for it. Only a caller
whose key lacks the scope waits for its entry, which is therefore written at once.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.audit import NOBODY, Action, Actor, Entry
from app.parts.lifecycle import wait_for_event
from app.store.audit import AuditStore

WRITE_EVERY = 1.0
"""Seconds between two writes of failed authentications; the first after a quiet time is written at
once."""
PATIENCE = 1.0
"""Seconds that the answer to a refused request waits for its entry."""
MAX_KEPT = 10_000
"""Addresses in one write; the failures of further ones are counted as one."""
ELSEWHERE = "elsewhere"

log = structlog.get_logger(__name__)


class Failures:
    """What is counted and not written yet. ``run`` writes it."""

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._kept: dict[str, Entry] = {}
        self._has_counts = asyncio.Event()
        self._has_waiters = asyncio.Event()
        self._written = asyncio.Event()

    def count_unknown(self, address: str | None) -> None:
        """A request without a valid key came from this address."""
        if len(self._kept) >= MAX_KEPT:
            address = ELSEWHERE
        self._count(Actor(NOBODY, address=address).did(Action.FAILED_AUTHENTICATION))

    async def count_refused(self, actor: Actor, route: str) -> None:
        """A valid key lacks a route's scope. Returns once that is written, or after PATIENCE."""
        self._count(actor.did(Action.REFUSED, route))
        self._has_waiters.set()
        written = self._written
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await written.wait()

    async def run(self) -> None:
        """Write what is counted, until cancelled; the last of it by ``flush``."""
        while True:
            await self._has_counts.wait()
            await self.flush()
            await wait_for_event(self._has_waiters, WRITE_EVERY)

    async def flush(self) -> None:
        """Write what is counted. What the database does not take stays counted."""
        self._has_counts.clear()
        self._has_waiters.clear()
        entries, self._kept = self._kept, {}
        written, self._written = self._written, asyncio.Event()
        try:
            if entries:
                await self._store.count(list(entries.values()))
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("failures_not_audited", reason=error.detail)
            for entry in entries.values():
                self._count(entry)
        finally:
            written.set()

    def _count(self, entry: Entry) -> None:
        minute = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M")
        parts = (entry.action, entry.actor.who, entry.actor.address, entry.what, minute)
        once = entry.once or " ".join(str(part) for part in parts)
        kept = self._kept.get(once)
        times = entry.times + (kept.times if kept else 0)
        self._kept[once] = replace(kept or entry, times=times, once=once)
        self._has_counts.set()
