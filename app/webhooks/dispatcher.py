"""Polls for webhooks that have something due, claims them, and runs a deliverer for each.

Any number of processes do so over one database: a lease says which of them delivers to a webhook.
When a process dies its leases expire, and another process claims the webhooks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog
from opentelemetry.trace import Tracer

from app.errors import StoreRefused, StoreUnavailable
from app.model.webhook import Webhook
from app.ops.metrics import Metrics
from app.ops.traces import NO_TRACER
from app.parts.lifecycle import wait_for_event
from app.store.clock import Now, utc_now
from app.store.outbox.store import OutboxStore, Waiting
from app.webhooks.deliverer import Deliverer
from app.webhooks.schedule import Schedule
from app.webhooks.targets import Targets

POLL_EVERY = 0.5
"""Seconds between polls without a wake-up: one may be lost, and SQLite's reach no other process."""
POLL_ALARMS_EVERY = 5.0
"""The same in a process that delivers alarms only: those that it raises itself wake it."""
MIN_PAUSE = 0.05
"""Seconds between two polls, however many wake-ups come."""
MAX_DELIVERERS = 2_000
"""Webhooks that one process delivers to at a time. A receiver that hangs occupies one for a
time-out, so this is enough for twenty apps of which every webhook hangs."""
STOP_TIMEOUT = 5.0
"""Seconds that attempts in flight have to end at a stop. What has not is sent again."""
PURGE_EVERY = 600.0
PURGE_BATCH = 1_000

log = structlog.get_logger(__name__)


class Dispatcher:
    """The deliverers of one process. ``keep_for``: seconds that ended deliveries can be looked up.

    ``max_sockets`` bounds the connections of all deliverers together: what they leave of the
    process's file descriptors is for receipts. ``close`` closes ``targets`` as well.
    """

    def __init__(
        self,
        *,
        outbox: OutboxStore,
        schedule: Schedule,
        targets: Targets,
        metrics: Metrics,
        tracer: Tracer = NO_TRACER,
        keep_for: float,
        max_sockets: int,
        now: Now = utc_now,
    ) -> None:
        self._outbox = outbox
        self._now = now
        self._schedule = schedule
        self._targets = targets
        self._metrics = metrics
        self._tracer = tracer
        self._keep_for = timedelta(seconds=keep_for)
        self._max_deliverers = min(MAX_DELIVERERS, max(1, max_sockets // schedule.concurrency))
        self._lease = uuid4()
        self._deliverers: dict[UUID, tuple[Deliverer, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._has_active = True
        self._poll_every = POLL_EVERY

    def deliver_alarms_only(self) -> None:
        """For a process that is no worker: without a worker nobody else could deliver the alarm
        that there is none.
        """
        self._outbox.only_alarms = True
        self._poll_every = POLL_ALARMS_EVERY

    def wake_for_events(self) -> None:
        """There are new events. Costs nothing where no webhook is active."""
        if self._has_active:
            self._wake.set()

    def wake(self) -> None:
        """Poll now: a webhook was changed, or a delivery is asked for."""
        self._wake.set()

    async def run(self) -> None:
        """Poll and deliver, until cancelled."""
        await _repeat(self._poll, self._pause, "webhook_poll_failed")

    async def renew_leases(self) -> None:
        """Renew the leases of webhooks with a deliverer, until cancelled."""
        await _repeat(
            self._renew,
            lambda: asyncio.sleep(self._schedule.lease / 4),
            "webhook_lease_renewal_failed",
        )

    async def purge_history(self) -> None:
        """Delete deliveries that ended longer than ``keep_for`` ago, until cancelled."""
        await _repeat(self._purge, lambda: asyncio.sleep(PURGE_EVERY), "webhook_purge_failed")

    async def close(self) -> None:
        """Stop the deliverers and release their leases: other processes can claim them at once."""
        running, ids = [*self._deliverers.values()], [*self._deliverers]
        for deliverer, _ in running:
            deliverer.stop()
        tasks = {task for _, task in running}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_TIMEOUT)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(StoreUnavailable, StoreRefused):
                await self._outbox.release(ids, lease=self._lease)
        await self._targets.close()

    async def _poll(self) -> None:
        now = self._now()
        waiting = await self._outbox.waiting(lease=self._lease, now=now)
        self._has_active = bool(waiting)
        with_work = [each for each in waiting if each.has_events or each.has_due]
        for each in with_work:
            if each.webhook_id in self._deliverers:
                self._deliverers[each.webhook_id][0].wake(has_events=each.has_events)
        new = [each for each in with_work if each.webhook_id not in self._deliverers]
        if new:
            await self._claim(new[: self._max_deliverers - len(self._deliverers)], now)

    async def _claim(self, new: list[Waiting], now: datetime) -> None:
        """Take the leases of these webhooks, and deliver to those that were free."""
        lease_until = asyncio.get_running_loop().time() + self._schedule.lease
        claimed = await self._outbox.claim(
            [each.webhook_id for each in new],
            lease=self._lease,
            now=now,
            until=now + timedelta(seconds=self._schedule.lease),
        )
        for webhook in claimed:
            deliverer = Deliverer(
                webhook,
                outbox=self._outbox,
                schedule=self._schedule,
                targets=self._targets,
                metrics=self._metrics,
                tracer=self._tracer,
                lease=self._lease,
                lease_until=lease_until,
                now=self._now,
            )
            task = asyncio.create_task(self._deliver(webhook, deliverer))
            self._deliverers[webhook.id] = deliverer, task

    async def _deliver(self, webhook: Webhook, deliverer: Deliverer) -> None:
        try:
            await deliverer.run()
            await self._outbox.release([webhook.id], lease=self._lease)
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("webhook_interrupted", webhook_id=str(webhook.id), reason=error.detail)
        except Exception:
            log.exception("webhook_deliverer_failed", webhook_id=str(webhook.id))
        finally:
            del self._deliverers[webhook.id]

    async def _renew(self) -> None:
        if not self._deliverers:
            return
        now, began = self._now(), asyncio.get_running_loop().time()
        await self._outbox.keep(
            lease=self._lease, until=now + timedelta(seconds=self._schedule.lease)
        )
        for deliverer, _ in self._deliverers.values():
            deliverer.lease_until = max(deliverer.lease_until, began + self._schedule.lease)

    async def _purge(self) -> None:
        before = self._now() - self._keep_for
        deleted = PURGE_BATCH
        while deleted == PURGE_BATCH:
            deleted = await self._outbox.forget(before=before, limit=PURGE_BATCH)

    async def _pause(self) -> None:
        await asyncio.sleep(MIN_PAUSE)
        await wait_for_event(self._wake, self._poll_every)
        self._wake.clear()


async def _repeat(
    work: Callable[[], Awaitable[None]], pause: Callable[[], Awaitable[None]], failure: str
) -> None:
    """Do ``work`` for ever; ``failure`` is the log's event where it fails."""
    while True:
        try:
            await work()
        except (StoreUnavailable, StoreRefused) as error:
            log.warning(failure, reason=error.detail)
        except Exception:
            log.exception(failure)
        await pause()
