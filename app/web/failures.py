"""Counts failed authentications and refused requests for the audit, by address and minute.

Strangers cause failed authentications, as many as they like: they are counted in memory and written
together, about once a second, so that they cost the database next to nothing and nobody waits for
it. A refused request has a valid key, and its response waits for its entry, which is written soon.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.audit import NOBODY, Action, Actor, Entry
from app.store.audit import AuditStore

WRITE_EVERY = 1.0
"""Seconds between two writes; the first failure after a quiet time is written at once."""
WRITE_REFUSED_EVERY = 0.05
"""Seconds between two writes where a response waits for one."""
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
        self._some = asyncio.Event()
        self._is_awaited = asyncio.Event()
        self._written = asyncio.Event()

    def count_unknown(self, address: str | None) -> None:
        """A request without a valid key came from this address."""
        if len(self._kept) >= MAX_KEPT:
            address = ELSEWHERE
        self._count(Actor(NOBODY, address=address).did(Action.FAILED_AUTHENTICATION))

    async def count_refused(self, actor: Actor, route: str) -> None:
        """A valid key lacks the scope for a route. On return that is written, where the database
        answers in time.
        """
        self._count(actor.did(Action.REFUSED, route))
        self._is_awaited.set()
        written = self._written
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await written.wait()

    async def run(self) -> None:
        """Write what is counted, until cancelled; the last of it by ``flush``."""
        while True:
            await self._some.wait()
            await self.flush()
            await asyncio.sleep(WRITE_REFUSED_EVERY)
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY - WRITE_REFUSED_EVERY):
                    await self._is_awaited.wait()

    async def flush(self) -> None:
        """Write what is counted. What the database does not take stays counted."""
        self._some.clear()
        self._is_awaited.clear()
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
        self._some.set()
