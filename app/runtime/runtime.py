"""Starts the components in order, and stops them in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from app.errors import SchemaBehind, SchemaUnusable, StoreUnavailable
from app.ops.health import exposition
from app.ops.listener import OpsListener, operators_app
from app.parts.lifecycle import Close, close_in_order
from app.runtime.components import Components
from app.runtime.configured import warn_of_short_secret
from app.store.schema import migrate
from app.store.wakeups import EVENTS, QUEUE, WEBHOOKS

COMPONENTS_SHARE = 0.3
"""The share of DLR_SHUTDOWN_TIMEOUT for stopping the components; the rest is for open requests."""

log = structlog.get_logger(__name__)


class Runtime(Components):
    """The components, running."""

    async def start(self) -> None:
        """Ready to receive on return, with or without a database.

        An unwritable spool or an outdated schema does not raise: the command refuses to start on
        them, but this process may replace one that crashed, and either the spool or the database
        is enough to receive. SQLite is migrated here, since no other process does it.
        """
        self.spool.open()
        if self.database.is_sqlite:
            with suppress(StoreUnavailable):  # logged below
                await migrate(self.database)  # without the timeout of a health check
        with suppress(SchemaBehind):
            await self.watch.check_now()
        if not self.watch.is_up:
            log.error("started_without_database", reason=self.watch.reason)
        else:
            with suppress(StoreUnavailable):  # it is tried again every few seconds
                await self.disk.learn()
        self._run(self.watch.run(), "watch")
        self._run(self.schema.run(self.watch), "schema")
        self._run(self.failures.run(), "failures")
        self._run(self._once_clock_known(self.disk.run), "disk")
        self._run(self.keeper.run(), "journal")
        self._run(self.wakeups.run(), "wakeups")
        self._run(self.authenticator.run(), "use of keys")
        self._run(self.drainer.run(), "drainer")
        self.wakeups.listen(EVENTS, self.status_waiters.wake)
        self._run(self.status_waiters.run(), "status waiters")
        self.wakeups.listen(EVENTS, self.hub.wake)
        self._run(self.hub.run(), "hub")
        self._run(self.hub.send_heartbeats(), "heartbeats")
        self._run(self.hub.check_keys(), "stream keys")
        self._start_sending(with_queue=self.settings.queue_workers)

    async def start_worker(self) -> None:
        """Start what runs without callers: the queue, the webhooks, the evidence log. For a process
        without an HTTP server or a spool.

        Raises SchemaBehind; ``stop`` ends it. On a newer schema that is breaking it waits.
        """
        if self.database.is_sqlite:
            with suppress(SchemaUnusable):  # logged below
                await migrate(self.database)
        await self.watch.check_now()
        if not self.watch.is_up:
            log.error("started_without_database", reason=self.watch.reason)
        self._run(self.watch.run(), "watch")
        self._run(self.schema.run(self.watch), "schema")
        self._run(self.keeper.run(), "journal")
        self.disk.has_spool = False
        self._run(self._once_clock_known(self.disk.run), "disk")
        self._run(self.wakeups.run(), "wakeups")
        self.gauges.has_spool = False
        self._start_sending(with_queue=True)

    def _start_sending(self, *, with_queue: bool) -> None:
        """Start what servers and workers have in common. The sweeper runs in every process, so that
        leases of crashed processes end even without a worker; the evidence log is appended to by
        whichever process gets its lock. ``with_queue``: send what is queued, deliver webhooks, and
        do the periodic work.
        """
        warn_of_short_secret(self.callback_headers)
        self._run(self.secrets.run(), "secrets")
        if (proxy := self.iovox_proxy) is not None:
            # Logged, since HTTPS_PROXY may have been set for other programs.
            log.info("iovox_through_proxy", proxy=f"{proxy.host}:{proxy.port}")
        self.alarms.works = with_queue
        self._run(self.gauges.run(), "gauges")
        self._run(self._once_clock_known(self.alarms.run), "alarms")
        if (evidence := self.evidence_worker) is not None:
            self._run(self._once_clock_known(evidence.run), "evidence")
            self._run(self._once_clock_known(evidence.run_signing), "checkpoints")
            self._run(self._once_clock_known(evidence.run_stamping), "time stamps")
        self._run(self.clock_watch.run(), "clock")
        self._run(self._once_clock_known(self.sweeper.run), "sweeper")
        self._run(self._once_clock_known(self.sweeper.run_key_expiry), "idempotency keys")
        self.wakeups.listen(WEBHOOKS, self.dispatcher.wake)
        self._run(self._once_clock_known(self.dispatcher.run), "webhooks")
        self._run(self._once_clock_known(self.dispatcher.renew_leases), "webhook leases")
        if not with_queue:
            self.dispatcher.deliver_alarms_only()
        else:
            self.wakeups.listen(QUEUE, self.queue.wake)
            self._run(self._once_clock_known(self.queue.run), "queue")
            self.wakeups.listen(EVENTS, self.dispatcher.wake_for_events)
            self._run(self._once_clock_known(self.dispatcher.purge_history), "webhook history")
            self._run(self._once_clock_known(self.retention.run), "retention")
            self._run(self._once_clock_known(self.roller.run), "roll-ups")
            self._run(self._once_clock_known(self.eraser.run), "erasures")

    async def _once_clock_known(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` once the database's clock is known: by the host's, which may be wrong,
        leases that still last would look expired.
        """
        await self.clock.wait_until_known()
        await work()

    async def stop(self) -> None:
        """Stop the components in reverse order, within their share of DLR_SHUTDOWN_TIMEOUT.

        What is not committed by then is in the spool or under a lease.
        """
        allowed = self.settings.shutdown_timeout * COMPONENTS_SHARE
        if not self.watch.is_up:
            allowed /= 3  # waiting for the database is futile
        deadline = asyncio.get_running_loop().time() + allowed
        await self._background.cancel(patience=allowed / 3)
        sending: dict[str, Close] = {
            "sender": self.sender.close,
            "queue": self.queue.close,
            "outcomes": self.outcomes.close,
            "iovox client": self.client.aclose,
        }
        receiving: dict[str, Close] = {"inbox": self.inbox.close, "spool": self.spool.close}
        webhooks: dict[str, Close] = {"webhooks": self.dispatcher.close}
        stores: dict[str, Close] = {
            "use of keys": self.authenticator.note_used,
            "audit": self.failures.flush,
            "journal": self.keeper.close,
            "alarms": self.alarms.close,
            "database": self.database.close,
            "intake": self.intake.close,
        }
        chains = (sending, receiving, webhooks)
        await asyncio.gather(*(close_in_order(parts, deadline=deadline) for parts in chains))
        await close_in_order(stores | {"traces": self.traces.close}, deadline=deadline)
        self.bodies.close()

    def end_streams(self) -> None:
        """End streams and long polls, which would otherwise delay the server's exit."""
        self.status_waiters.close()
        self.hub.close()

    def listen_for_operators(self, *, with_spool: bool = True) -> OpsListener:
        """The listener of DLR_OPS_PORT, a context manager; without that setting it does nothing."""
        app = operators_app(
            watch=self.watch,
            spool=self.spool if with_spool else None,
            gauges=self.gauges,
            exposition=exposition(gauges=self.gauges, metrics=self.metrics),
        )
        return OpsListener(app, self.settings.ops_address)
