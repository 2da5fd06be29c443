"""Finds webhooks for which there is something to do, and has a courier do it.

Any number of processes do so over one database; a lease says who delivers to which webhook. When a
process dies, its leases run out and another one goes on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import structlog

from app.errors import StoreRefused, StoreUnavailable
from app.model.webhook import Webhook
from app.ops.metrics import Metrics
from app.parts.lifecycle import wait_for_event
from app.store.outbox.store import OutboxStore, Waiting
from app.webhooks.deliverer import Courier
from app.webhooks.schedule import Schedule
from app.webhooks.targets import Targets

LOOK_EVERY = 0.5
"""Seconds between looks when nobody says that there is something to do."""
PAUSE = 0.05
"""Seconds between two looks, however many wake-ups come."""
MOST_COURIERS = 500
STOP_PATIENCE = 5.0
"""Seconds for the attempts under way at a stop. What they had not achieved is sent again."""
TIDY_EVERY = 600.0
TIDIED_AT_ONCE = 1_000

log = structlog.get_logger(__name__)


class Dispatcher:
    """The couriers of one process. ``keep_for``: seconds that ended deliveries can be looked up."""

    def __init__(
        self,
        *,
        outbox: OutboxStore,
        schedule: Schedule,
        targets: Targets,
        metrics: Metrics,
        keep_for: float,
    ) -> None:
        self._outbox = outbox
        self._schedule = schedule
        self._targets = targets
        self._metrics = metrics
        self._keep_for = timedelta(seconds=keep_for)
        self._lease = uuid4()
        self._couriers: dict[UUID, tuple[Courier, asyncio.Task[None]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._wake = asyncio.Event()
        self._has_active = True

    def wake(self) -> None:
        """There are new events. Costs nothing where no webhook waits for any."""
        if self._has_active:
            self._wake.set()

    def look(self) -> None:
        """Somebody has changed a webhook, or wants a delivery made."""
        self._wake.set()

    async def run(self) -> None:
        """Look and have it done, until cancelled."""
        await _again_and_again(self._look, self._sleep, "webhooks_wait")

    async def keep(self) -> None:
        """Renew the leases, until cancelled."""
        await _again_and_again(
            self._renew, lambda: asyncio.sleep(self._schedule.lease / 4), "webhook_leases_wait"
        )

    async def tidy(self) -> None:
        """Delete what ended long ago, until cancelled."""
        await _again_and_again(
            self._forget, lambda: asyncio.sleep(TIDY_EVERY), "webhook_history_waits"
        )

    async def close(self) -> None:
        """End the couriers and give their leases back, so that others need not wait for them."""
        couriers, ids = [*self._couriers.values()], [*self._couriers]
        for courier, _ in couriers:
            courier.stop()
        tasks = {task for _, task in couriers}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=STOP_PATIENCE)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(StoreUnavailable, StoreRefused):
                await self._outbox.release(ids, lease=self._lease)
        self._targets.close()

    async def _look(self) -> None:
        now = datetime.now(UTC)
        waiting = await self._outbox.waiting(lease=self._lease, now=now)
        self._has_active = bool(waiting)
        to_do = [each for each in waiting if each.has_events or each.has_due]
        for each in to_do:
            if each.webhook_id in self._couriers:
                self._couriers[each.webhook_id][0].wake(has_events=each.has_events)
        new = [each for each in to_do if each.webhook_id not in self._couriers]
        if new:
            await self._send_out(new[: MOST_COURIERS - len(self._couriers)], now)

    async def _send_out(self, new: list[Waiting], now: datetime) -> None:
        if self._tls is None:  # reads hundreds of certificates
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)
        held_until = asyncio.get_running_loop().time() + self._schedule.lease
        claimed = await self._outbox.claim(
            [each.webhook_id for each in new],
            lease=self._lease,
            now=now,
            until=now + timedelta(seconds=self._schedule.lease),
        )
        for webhook in claimed:
            courier = Courier(
                webhook,
                outbox=self._outbox,
                schedule=self._schedule,
                targets=self._targets,
                tls=self._tls,
                metrics=self._metrics,
                lease=self._lease,
                held_until=held_until,
            )
            task = asyncio.create_task(self._accompany(webhook, courier))
            self._couriers[webhook.id] = courier, task

    async def _accompany(self, webhook: Webhook, courier: Courier) -> None:
        try:
            await courier.run()
            await self._outbox.release([webhook.id], lease=self._lease)
        except (StoreUnavailable, StoreRefused) as error:
            log.warning("webhook_waits", webhook_id=str(webhook.id), reason=error.detail)
        except Exception:
            log.exception("courier_failed", webhook_id=str(webhook.id))
        finally:
            del self._couriers[webhook.id]

    async def _renew(self) -> None:
        if not self._couriers:
            return
        now, held_until = datetime.now(UTC), asyncio.get_running_loop().time()
        await self._outbox.keep(
            lease=self._lease, until=now + timedelta(seconds=self._schedule.lease)
        )
        for courier, _ in self._couriers.values():
            courier.held_until = max(courier.held_until, held_until + self._schedule.lease)

    async def _forget(self) -> None:
        before = datetime.now(UTC) - self._keep_for
        forgotten = TIDIED_AT_ONCE
        while forgotten == TIDIED_AT_ONCE:
            forgotten = await self._outbox.forget(before=before, limit=TIDIED_AT_ONCE)

    async def _sleep(self) -> None:
        await asyncio.sleep(PAUSE)
        await wait_for_event(self._wake, LOOK_EVERY)
        self._wake.clear()


async def _again_and_again(
    work: Callable[[], Awaitable[None]], rest: Callable[[], Awaitable[None]], failure: str
) -> None:
    while True:
        try:
            await work()
        except (StoreUnavailable, StoreRefused) as error:
            log.warning(failure, reason=error.detail)
        except Exception:
            log.exception(failure)
        await rest()
