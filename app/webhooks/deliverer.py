"""Delivers to one webhook while there is something due and this process holds its lease.

At least once, and in order per message: of each message only the earliest pending delivery is in
flight, and its successor waits until that has succeeded or was given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import structlog
from opentelemetry.trace import Span, StatusCode, Tracer

from app.model.webhook import Delivery, Webhook, WebhookState, event_payload
from app.ops.metrics import Metrics
from app.ops.traces import NO_TRACER, client_span, injected_headers
from app.parts.lifecycle import wait_for_event
from app.store.clock import Now, utc_now
from app.store.outbox.store import OutboxStore
from app.webhooks.client import DeliveryResult, WebhookClient
from app.webhooks.schedule import Schedule
from app.webhooks.signing import signed_headers
from app.webhooks.targets import Targets

IDLE_TIMEOUT = 2.0
"""Seconds without anything due after which a deliverer ends. Until then it keeps its connections
and its lease, which the next event then need not wait for."""
PREFETCH = 64
"""Deliveries read at once, and the most results recorded at once: one query and one commit for
many."""
RECORD_DELAY = 0.1
"""Seconds that a result may wait to be recorded together with others."""
REFRESH_EVERY = 1.0
"""Seconds between two reads of the webhook by a busy deliverer: its owner may have changed it."""
HEADERS = {"Content-Type": "application/json", "User-Agent": "iovox-receipts"}

log = structlog.get_logger(__name__)


class Deliverer:
    """One process's work for one webhook.

    ``lease_until``: when its lease expires, on the loop's clock. The dispatcher moves it on when it
    has renewed the lease; no attempt is started that could outlast it.
    """

    def __init__(
        self,
        webhook: Webhook,
        *,
        outbox: OutboxStore,
        schedule: Schedule,
        targets: Targets,
        metrics: Metrics,
        tracer: Tracer = NO_TRACER,
        lease: UUID,
        lease_until: float,
        now: Now = utc_now,
    ) -> None:
        self.lease_until = lease_until
        self._now = now
        self._webhook = webhook
        self._outbox = outbox
        self._schedule = schedule
        self._targets = targets
        self._metrics = metrics
        self._tracer = tracer
        self._lease = lease
        self._clock = asyncio.get_running_loop().time
        self._refreshed_at = self._clock()
        self._url = webhook.url
        self._client = self._new_client()
        self._due: deque[Delivery] = deque()
        self._in_flight: dict[asyncio.Task[DeliveryResult], Delivery] = {}
        self._results: list[tuple[Delivery, DeliveryResult]] = []
        self._first_result_at = 0.0
        self._wake = asyncio.Event()
        self._may_have_due = self._may_have_events = True
        self._holds_lease = True
        self._is_stopping = False

    def wake(self, *, has_events: bool) -> None:
        """There are deliveries due, or events to make deliveries of."""
        self._may_have_due = True
        self._may_have_events = self._may_have_events or has_events
        self._wake.set()

    def stop(self) -> None:
        """Start no further attempt, and end when those in flight have ended."""
        self._is_stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver until nothing is due, or the lease is lost. Raises StoreUnavailable."""
        try:
            while True:
                self._wake.clear()
                if self._should_record():
                    await self._record()
                if self._clock() - self._refreshed_at >= REFRESH_EVERY:
                    await self._refresh()
                await self._start_attempts()
                if self._in_flight or self._results:
                    await self._wait()
                elif not await self._wait_for_work():
                    return
        finally:
            await self._cancel_attempts()

    async def _start_attempts(self) -> None:
        """Start as many attempts as may be in flight together."""
        if not self._may_start():
            self._due.clear()
            return
        if not self._due and self._may_have_due:
            self._may_have_due = False
            await self._fetch_due()
        limit = self._schedule.max_in_flight(self._webhook)
        # A failure is recorded first: it may ask for a pause (backoff, Retry-After, 410).
        while self._due and len(self._in_flight) < limit and not self._has_failed():
            delivery = self._due.popleft()
            task = asyncio.create_task(self._attempt(self._webhook, delivery))
            self._in_flight[task] = delivery

    async def _fetch_due(self) -> None:
        now = self._now()
        if self._may_have_events:
            self._may_have_events = await self._outbox.fill(
                self._webhook.id, lease=self._lease, now=now, payload=event_payload
            )
        taken = [*self._in_flight.values(), *(delivery for delivery, _ in self._results)]
        self._due.extend(
            await self._outbox.due(
                self._webhook.id, now=now, limit=PREFETCH, under_way=[each.id for each in taken]
            )
        )

    async def _refresh(self) -> None:
        """Read the webhook again: its URL, state, secrets, and whether the lease is still ours."""
        webhook = await self._outbox.held(self._webhook.id, lease=self._lease)
        self._refreshed_at = self._clock()
        self._holds_lease = webhook is not None
        self._webhook = webhook or self._webhook
        if self._webhook.url != self._url and not self._in_flight:
            await self._client.close()  # its connections lead to another receiver
            self._url, self._client = self._webhook.url, self._new_client()

    def _may_start(self) -> bool:
        webhook = self._webhook
        return (
            self._holds_lease
            and not self._is_stopping
            and webhook.url == self._url
            and webhook.state is WebhookState.ACTIVE
            and (webhook.not_before is None or webhook.not_before <= self._now())
            and self._clock() + self._schedule.timeout < self.lease_until
        )

    async def _attempt(self, webhook: Webhook, delivery: Delivery) -> DeliveryResult:
        began_at, start = self._now(), self._clock()
        result = await self._call(webhook, delivery, began_at)
        took = round((self._clock() - start) * 1_000)
        return replace(result, began_at=began_at, took_ms=took)

    async def _call(self, webhook: Webhook, delivery: Delivery, now: datetime) -> DeliveryResult:
        if webhook.secret is None:  # a call is never sent without a signature
            return DeliveryResult(None, "its secret cannot be decrypted: see DLR_ENCRYPTION_KEY")
        body = delivery.body.encode()
        signed = signed_headers(
            delivery_id=str(delivery.id),
            timestamp=int(now.timestamp()),
            body=body,
            secrets=webhook.secrets_at(now),
        )
        try:
            with client_span(
                self._tracer,
                "deliver",
                webhook_id=webhook.id,
                delivery_id=delivery.id,
                message_id=delivery.message_id,
                type=delivery.type,
            ) as span:
                headers = HEADERS | signed | injected_headers()
                result = await self._client.post(webhook.url, headers, body)
                _annotate(span, result)
                return result
        except Exception:
            log.exception("webhook_attempt_failed", webhook_id=str(webhook.id))
            return DeliveryResult(None, "the call broke off")

    async def _wait(self) -> None:
        """Wait until an attempt ends, there is more to start, or results are to be recorded."""
        timeout = self._first_result_at + RECORD_DELAY - self._clock() if self._results else None
        wake = asyncio.create_task(self._wake.wait())
        await asyncio.wait(
            {wake, *self._in_flight}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
        )
        wake.cancel()
        for task in [task for task in self._in_flight if task.done()]:
            if not self._results:
                self._first_result_at = self._clock()
            self._results.append((self._in_flight.pop(task), task.result()))

    def _has_failed(self) -> bool:
        return any(not result.succeeded for _, result in self._results)

    def _should_record(self) -> bool:
        return bool(self._results) and (
            not self._due
            or self._has_failed()
            or len(self._results) >= PREFETCH
            or self._clock() >= self._first_result_at + RECORD_DELAY
        )

    async def _record(self) -> None:
        recorded, self._results = self._results, []
        for _, result in recorded:
            outcome = "taken" if result.succeeded else "failed"
            self._metrics.webhook_attempts.labels(outcome).inc()
        now = self._now()
        health = self._schedule.health(self._webhook, [result for _, result in recorded], now)
        attempts = [
            self._schedule.attempted(self._webhook, delivery, result, now)
            for delivery, result in recorded
        ]
        await self._outbox.record(self._webhook.id, attempts, health, lease=self._lease, now=now)
        if health.state is not WebhookState.ACTIVE:
            log.error("webhook_stopped", webhook_id=str(self._webhook.id), reason=health.reason)
        self._may_have_due = True  # the successors of what was delivered
        await self._refresh()

    async def _wait_for_work(self) -> bool:
        """Wait for IDLE_TIMEOUT at most; whether there may be something due then."""
        if not self._may_start():
            return False
        if not self._may_have_due:
            await wait_for_event(self._wake, IDLE_TIMEOUT)
        await self._refresh()
        return self._may_have_due

    async def _cancel_attempts(self) -> None:
        """What is in flight stays pending, and will be sent again."""
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        await self._client.close()

    def _new_client(self) -> WebhookClient:
        return WebhookClient(
            targets=self._targets,
            timeout=self._schedule.timeout,
            connections=self._schedule.concurrency,
        )


def _annotate(span: Span, result: DeliveryResult) -> None:
    if result.status_code is not None:
        span.set_attribute("http.response.status_code", result.status_code)
    if not result.succeeded:
        span.set_status(StatusCode.ERROR)
