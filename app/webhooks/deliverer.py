"""Delivers to one webhook, as long as there is something to do and its lease is ours.

At least once, and in order per message: of each message only the earliest pending delivery is under
way, and its successor waits until it was taken or given up.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from datetime import UTC, datetime
from uuid import UUID

import structlog

from app.model.webhook import Delivery, Webhook, WebhookState, event_payload
from app.ops.metrics import Metrics
from app.parts.lifecycle import wait_for_event
from app.store.outbox.store import OutboxStore
from app.webhooks.poster import Answer, Poster
from app.webhooks.schedule import Schedule
from app.webhooks.signing import signed_headers
from app.webhooks.targets import Targets

LINGER = 2.0
"""Seconds that a courier with nothing to do stays: connections and lease are at hand then."""
READY = 64
"""Deliveries that are read ahead, so that one query and one commit do for many."""
RECORD_AFTER = 0.1
"""Seconds that an attempt's end may wait to be recorded with others."""
KNOWN_FOR = 1.0
"""Seconds after which a busy courier looks whether its webhook was changed."""
HEADERS = {"Content-Type": "application/json", "User-Agent": "iovox-receipts"}

log = structlog.get_logger(__name__)


class Courier:
    """One process's work for one webhook. ``held_until``: when its lease runs out, on the loop's
    clock; nothing is begun that might last longer.
    """

    def __init__(
        self,
        webhook: Webhook,
        *,
        outbox: OutboxStore,
        schedule: Schedule,
        targets: Targets,
        tls: ssl.SSLContext,
        metrics: Metrics,
        lease: UUID,
        held_until: float,
    ) -> None:
        self.held_until = held_until
        self._webhook = webhook
        self._outbox = outbox
        self._schedule = schedule
        self._targets = targets
        self._tls = tls
        self._metrics = metrics
        self._lease = lease
        self._clock = asyncio.get_running_loop().time
        self._known_at = self._clock()
        self._url = webhook.url
        self._poster = self._new_poster()
        self._ready: deque[Delivery] = deque()
        self._under_way: dict[asyncio.Task[Answer], Delivery] = {}
        self._ended: list[tuple[Delivery, Answer]] = []
        self._ended_at = 0.0
        self._wake = asyncio.Event()
        self._has_work = self._has_events = True
        self._is_ours = True
        self._is_stopping = False

    def wake(self, *, has_events: bool) -> None:
        """There is something to do."""
        self._has_work = True
        self._has_events = self._has_events or has_events
        self._wake.set()

    def stop(self) -> None:
        """Begin no further attempt, and end when those under way have."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until there is nothing to do, or it is not ours to do. Raises StoreUnavailable."""
        try:
            while True:
                self._wake.clear()
                if self._should_record():
                    await self._record()
                if self._clock() - self._known_at >= KNOWN_FOR:
                    await self._know()
                await self._begin()
                if self._under_way or self._ended:
                    await self._wait()
                elif not await self._is_woken():
                    return
        finally:
            await self._abandon()

    async def _begin(self) -> None:
        """Begin as many attempts as may be under way together."""
        if not self._may_begin():
            self._ready.clear()
            return
        if not self._ready and self._has_work:
            self._has_work = False
            await self._look()
        at_once = self._schedule.at_once(self._webhook)
        # After a failure nothing is begun before it is known what it says of the receiver.
        while self._ready and len(self._under_way) < at_once and not self._has_failed():
            delivery = self._ready.popleft()
            task = asyncio.create_task(self._attempt(self._webhook, delivery))
            self._under_way[task] = delivery

    async def _look(self) -> None:
        now = datetime.now(UTC)
        if self._has_events:
            self._has_events = await self._outbox.fill(
                self._webhook.id, lease=self._lease, now=now, payload=event_payload
            )
        taken = [*self._under_way.values(), *(delivery for delivery, _ in self._ended)]
        self._ready.extend(
            await self._outbox.due(
                self._webhook.id, now=now, limit=READY, under_way=[each.id for each in taken]
            )
        )

    async def _know(self) -> None:
        """Take in what was changed: the target, the state, the secret, or whose it is."""
        webhook = await self._outbox.held(self._webhook.id, lease=self._lease)
        self._known_at = self._clock()
        self._is_ours = webhook is not None
        self._webhook = webhook or self._webhook
        if self._webhook.url != self._url and not self._under_way:
            await self._poster.aclose()  # its connections are to another host
            self._url, self._poster = self._webhook.url, self._new_poster()

    def _may_begin(self) -> bool:
        webhook = self._webhook
        return (
            self._is_ours
            and not self._is_stopping
            and webhook.url == self._url
            and webhook.state is WebhookState.ACTIVE
            and (webhook.not_before is None or webhook.not_before <= datetime.now(UTC))
            and self._clock() + self._schedule.timeout < self.held_until
        )

    async def _attempt(self, webhook: Webhook, delivery: Delivery) -> Answer:
        now = datetime.now(UTC)
        body = delivery.body.encode()
        signed = signed_headers(
            delivery_id=str(delivery.id),
            timestamp=int(now.timestamp()),
            body=body,
            secrets=webhook.secrets_at(now),
        )
        try:
            return await self._poster.post(webhook.url, HEADERS | signed, body)
        except Exception:
            log.exception("webhook_attempt_failed", webhook_id=str(webhook.id))
            return Answer(None, "the call broke off")

    async def _wait(self) -> None:
        """Until an attempt has ended, more may be begun, or what has ended should be recorded."""
        left = self._ended_at + RECORD_AFTER - self._clock() if self._ended else None
        woken = asyncio.create_task(self._wake.wait())
        await asyncio.wait(
            {woken, *self._under_way}, timeout=left, return_when=asyncio.FIRST_COMPLETED
        )
        woken.cancel()
        for task in [task for task in self._under_way if task.done()]:
            self._ended_at = self._ended_at if self._ended else self._clock()
            self._ended.append((self._under_way.pop(task), task.result()))

    def _has_failed(self) -> bool:
        return any(not answer.was_taken for _, answer in self._ended)

    def _should_record(self) -> bool:
        return bool(self._ended) and (
            not self._ready
            or self._has_failed()
            or len(self._ended) >= READY
            or self._clock() >= self._ended_at + RECORD_AFTER
        )

    async def _record(self) -> None:
        ended, self._ended = self._ended, []
        for _, answer in ended:
            self._metrics.webhook_attempts.labels("taken" if answer.was_taken else "failed").inc()
        now = datetime.now(UTC)
        health = self._schedule.health(self._webhook, [answer for _, answer in ended], now)
        attempts = [
            self._schedule.attempted(self._webhook, delivery, answer, now)
            for delivery, answer in ended
        ]
        await self._outbox.record(self._webhook.id, attempts, health, lease=self._lease, now=now)
        if health.state is not WebhookState.ACTIVE:
            log.error("webhook_stopped", webhook_id=str(self._webhook.id), reason=health.reason)
        self._has_work = True  # the successors of what was taken
        await self._know()

    async def _is_woken(self) -> bool:
        """Stay for a while; whether there is something to do again."""
        if not self._may_begin():
            return False
        if not self._has_work:
            await wait_for_event(self._wake, LINGER)
        await self._know()
        return self._has_work

    async def _abandon(self) -> None:
        """Leave what is under way: it is pending still, and will be sent again."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._poster.aclose()

    def _new_poster(self) -> Poster:
        return Poster(
            targets=self._targets,
            tls=self._tls,
            timeout=self._schedule.timeout,
            connections=self._schedule.concurrency,
        )
