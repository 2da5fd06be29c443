"""Erases numbers: asked for by an admin or a command, done by whichever process comes first.

Promise: a request is recorded with all that is needed to do it, so when a process is killed another
one goes on. It is complete when every disk has confirmed, and only then is the number deleted from
the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import structlog
from uuid_utils.compat import uuid7

from app.errors import Conflict, NotFound, StoreRefused, StoreUnavailable
from app.model.audit import Action, Actor
from app.model.erasure import Erasure, digest_of
from app.model.message import Message
from app.parts.lifecycle import wait_for_event
from app.store.erasing.store import ErasureStore

LOOK_EVERY = 5.0
"""Seconds between looks for requests that other processes have taken."""
LATE_EVERY = 300.0
"""Seconds between searches for receipts that came late for erased messages."""

log = structlog.get_logger(__name__)


class Eraser:
    """``key`` is DLR_ERASURE_KEY; without it an erasure cannot be shown later.

    ``cancel`` takes a QUEUED message back, and returns whether it still was QUEUED. ``announce`` is
    called after events were written, ``wake`` after deliveries to webhooks were queued.
    """

    def __init__(
        self,
        store: ErasureStore,
        *,
        cancel: Callable[[Message], Awaitable[bool]],
        key: bytes | None,
        announce: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._store = store
        self._cancel = cancel
        self._key = key
        self._announce = announce
        self._wake = wake
        self._asked = asyncio.Event()
        self._lease = uuid4()

    async def request(self, number: str, actor: Actor) -> Erasure:
        """Cancel what is QUEUED to a number, and have it erased. Raises Conflict while a message to
        it is being sent: nothing is done then.
        """
        under_way = await self._store.under_way(number)
        if under_way.sending:
            raise _being_sent(under_way.sending)
        cancelled = 0
        for message in under_way.queued:
            if not await self._cancel(message):
                raise _being_sent(1)
            cancelled += 1
        if cancelled:
            self._announce()
        erasure = Erasure(
            id=uuid7(),
            requested_at=self._store.now(),
            who=actor.who,
            app=actor.app,
            digest=digest_of(number, self._key) if self._key else None,
            number=number,
            counts={"cancelled": cancelled},
        )
        await self._store.add(erasure, actor.did(Action.ERASE, erasure.id))
        self._asked.set()
        return erasure

    async def find(self, erasure_id: UUID) -> Erasure:
        """One erasure. Raises NotFound."""
        found = await self._store.find(erasure_id)
        if found is None:
            raise NotFound("There is no erasure with this id")
        return found

    async def of(self, number: str) -> list[Erasure]:
        """The erasures of a number, oldest first; none without a key."""
        return await self._store.of_digest(digest_of(number, self._key)) if self._key else []

    async def erase(self, erasure: Erasure) -> None:
        """Erase it from the database, as far as no message to the number is being sent just now."""
        has_queued_webhooks = False
        while await self._store.erase_messages(erasure):
            has_queued_webhooks = True
        if has_queued_webhooks:
            self._wake()
        if await self._store.sending_before(erasure):
            return
        await self._store.erase_mentions(erasure)
        await self._store.mark_erased(erasure.id)

    async def run(self) -> None:
        """Do what was asked for, here or elsewhere, until cancelled."""
        late_at = 0.0
        while True:
            try:
                for erasure in await self.run_once():
                    log.info("erasure_completed", erasure=str(erasure.id))
                now = asyncio.get_running_loop().time()
                if now >= late_at:
                    await self._store.drop_late_bodies()
                    late_at = now + LATE_EVERY
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("erasure_waits", reason=error.detail)
            except Exception:
                log.exception("erasure_failed")
            self._asked.clear()
            await wait_for_event(self._asked, LOOK_EVERY)

    async def run_once(self) -> list[Erasure]:
        """Go on with each that is not completed, unless another process is at it.

        Returns those that are completed now.
        """
        completed = []
        for erasure in await self._store.open():
            if not await self._store.claim(erasure.id, lease=self._lease):
                continue
            try:
                if await self._go_on(erasure):
                    completed.append(erasure)
            finally:
                await self._store.release(erasure.id, lease=self._lease)
        return completed

    async def _go_on(self, erasure: Erasure) -> bool:
        if erasure.erased_at is None:
            await self.erase(erasure)
        current = await self.find(erasure.id)
        if current.completed_at is not None:  # by another process, as this one was too slow
            return False
        if current.erased_at is None or current.waiting_for:
            return False
        # Once more: what was on a disk has come into the database meanwhile.
        await self._store.erase_mentions(current)
        await self._store.drop_late_bodies()
        await self._store.renew_statistics()
        await self._store.complete(current.id)
        return True


def _being_sent(count: int) -> Conflict:
    what = "A message" if count == 1 else f"{count} messages"
    return Conflict(
        f"{what} to this number is being sent just now. Nothing is erased; ask again in a minute",
        headers={"Retry-After": "60"},
    )
