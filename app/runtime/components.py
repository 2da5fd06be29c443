"""All components of the service, built without I/O from the settings.

The settings are trusted, as they come from the operator, and validated before anything starts.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from app.errors import ConfigurationError
from app.feed.hub import Hub
from app.lookup.lookups import Lookups
from app.lookup.waiters import StatusWaiters
from app.ops.alarms.watch import AlarmWatch
from app.ops.gauges import Gauges
from app.ops.logs import StepLog
from app.ops.metrics import Metrics
from app.ops.recent import Recent
from app.parts.lifecycle import Background
from app.parts.networks import read_networks
from app.parts.reloading import Reloader
from app.parts.throttle import Throttle
from app.receive.recorder import Recorder
from app.record.audit import Auditor
from app.record.erased_lately import ErasedLately
from app.record.journal import Journal
from app.record.retention import SERVICE, Purger
from app.runtime.configured import (
    callback_headers,
    iovox_proxy,
    plain,
    rotated_headers,
    sealer,
)
from app.runtime.console import build_console
from app.runtime.databases import Databases
from app.runtime.evidence import build_evidence
from app.runtime.journal import build_keeper
from app.runtime.receiving import build_receiving
from app.runtime.record import build_record_keeping
from app.runtime.sending import build_sending
from app.runtime.traces import Traces
from app.runtime.webhooks import build_webhooks
from app.server.limits import raise_file_limit
from app.settings import Settings, read_secrets_again
from app.store.audit import AuditStore
from app.store.clock import DatabaseClock
from app.store.clock_watch import ClockWatch
from app.store.feed import FeedStore
from app.store.history import HistoryStore
from app.store.keys import KeyStore
from app.store.lists.store import ListStore
from app.store.messages import MessageStore
from app.store.operations import OperationsStore
from app.store.permission import Permit
from app.store.receipts import ReceiptStore
from app.store.retention import RetentionStore
from app.store.setback import SetbackStore
from app.store.stats import StatsStore
from app.store.unmatched import UnmatchedStore
from app.store.wakeups import EVENTS, QUEUE, WEBHOOKS, Wakeups
from app.web.addresses import Callers
from app.web.body import Bodies
from app.web.caller import Authenticator
from app.web.failures import Failures


class Components:
    """All components of the service. Raises ConfigurationError for settings that cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.traces = Traces(settings)
        self._background = Background()
        self._run = self._background.run
        self._build_store()
        self._build_receive()
        self._build_send()
        self._build_lookup()
        self._build_feed_and_webhooks()
        self._build_secrets()
        self._build_operations()
        self._build_record()
        self._build_console()
        self._build_evidence()

    def _build_store(self) -> None:
        settings = self.settings
        self.clock = DatabaseClock()
        self._now = self.clock.now
        self._databases = Databases(settings, clock=self.clock, greet=self._greet)
        self.database, self.intake = self._databases.main, self._databases.intake
        self.schema = self._databases.schema
        self.watch = self._databases.watch
        self.wakeups = Wakeups(self.database)
        self._announce_events = partial(self.wakeups.announce, EVENTS)
        self.keys = KeyStore(self.database)
        self.authenticator = Authenticator(self.keys, failures=Throttle(settings.failed_logins))
        self.callers = Callers(read_networks(settings.trusted_proxies))
        self.sealer = sealer(settings)
        self.bodies = Bodies()
        audit = AuditStore(self.database)
        self.auditor = Auditor(audit)
        self.failures = Failures(audit)
        self.history = HistoryStore(self.database)
        self.stats = StatsStore(self.database)
        is_on = settings.journal_for > 0
        self.journal = Journal(is_on=is_on)
        self.permit = Permit(self.database, is_on=is_on, keys_wait=settings.keys_wait)
        self.messages = MessageStore(self.database, permit=self.permit)
        self.receipts = ReceiptStore(self.intake)
        self.rejected = ReceiptStore(self.database)  # for operators, so not from the intake's pool
        self.recent = Recent(lambda: self._now().timestamp())
        self.steps = StepLog(level=settings.log_level, as_json=settings.log_format == "json")

    def _build_receive(self) -> None:
        settings = self.settings
        self.callback_headers = callback_headers(settings)
        self.erased_lately = ErasedLately()
        self.keeper = build_keeper(
            settings,
            database=self.database,
            journal=self.journal,
            permit=self.permit,
            recorder=Recorder(  # without a journal: what it records was read from one
                store=self.receipts, metrics=self.metrics, announce=self._announce_events
            ),
            purge=self._purge_again,
            on_forgotten=self._forget,
        )
        receiving = build_receiving(
            settings,
            store=self.receipts,
            writers=self.intake.writes_at_once,
            watch=self.watch,
            journal=self.journal,
            erased=self.erased_lately,
            headers=self.callback_headers,
            callers=self.callers,
            announce=self._announce_events,
            metrics=self.metrics,
            recent=self.recent,
            steps=self.steps,
            traces=self.traces,
            now=self._now,
        )
        self.spool = receiving.spool
        self.inbox = receiving.inbox
        self.drainer = receiving.drainer
        self.dlr = receiving.dlr

    def _build_send(self) -> None:
        self.iovox_proxy = iovox_proxy(self.settings)
        sending = build_sending(
            self.settings,
            database=self.database,
            store=self.messages,
            journal=self.journal,
            headers=self.callback_headers,
            proxy=self.iovox_proxy,
            is_held=lambda: self.keeper.is_held,
            wakeups=self.wakeups,
            metrics=self.metrics,
            recent=self.recent,
            steps=self.steps,
            traces=self.traces,
            now=self._now,
        )
        self.client = sending.client
        self.breaker = sending.breaker
        self.outcomes = sending.outcomes
        self.submitter = sending.submitter
        self.queue = sending.queue
        self.sweeper = sending.sweeper
        self.sender = sending.sender

    def _build_lookup(self) -> None:
        overdue_after = timedelta(seconds=self.settings.overdue_after)
        self.status_waiters = StatusWaiters(
            self.history.statuses,
            capacity=self.settings.max_waits,
            max_of_a_caller=self.settings.waits_per_key,
        )
        self.lookups = Lookups(
            history=self.history,
            lists=ListStore(self.database, overdue_after=overdue_after),
            stats=self.stats,
            unmatched=UnmatchedStore(self.database),
            waiters=self.status_waiters,
            overdue_after=overdue_after,
            now=self._now,
        )

    def _build_feed_and_webhooks(self) -> None:
        files = raise_file_limit()
        self.feed = FeedStore(self.database)
        self.hub = Hub(
            feed=self.feed,
            metrics=self.metrics,
            # The other half is for other connections.
            max_streams=self.settings.max_streams or files // 2,
            max_of_a_key=self.settings.streams_per_key,
            heartbeat=self.settings.stream_heartbeat,
            valid_keys=self.keys.valid,
        )
        webhooks = build_webhooks(
            self.settings,
            database=self.database,
            sealer=self.sealer,
            wakeups=self.wakeups,
            metrics=self.metrics,
            traces=self.traces,
            max_sockets=files // 4,
            now=self._now,
        )
        self.subscriptions = webhooks.subscriptions
        self.dispatcher = webhooks.dispatcher
        schedule = webhooks.schedule
        longest_pause = max(schedule.longest_retry, schedule.longest_pause)
        self.clock_watch = ClockWatch(
            self.intake,
            setback=SetbackStore(
                self.database,
                webhook_lease=timedelta(seconds=schedule.lease),
                webhook_pause=timedelta(seconds=longest_pause),
            ),
            on_rescheduled=self._wake_senders,
        )

    def _build_secrets(self) -> None:
        """On SIGHUP the files of secrets are read again; ``uses`` says who takes a changed one."""
        self.secrets = Reloader(
            self.settings,
            read=read_secrets_again,
            replace=lambda settings, fields: settings.model_copy(update=fields),
            refusals=(ValueError, ConfigurationError),
            uses={
                ("database_url",): lambda new: self._databases.use_url(new.database_url),
                ("callback_url_headers", "callback_previous_secrets"): self._use_callback_headers,
                ("iovox_secure_key",): lambda new: self.client.use_key(
                    plain(new.iovox_secure_key) or ""
                ),
                ("iovox_proxy",): lambda new: self.client.use_proxy(iovox_proxy(new)),
                ("encryption_key",): lambda new: self.sealer.use(plain(new.encryption_key) or ""),
            },
        )

    def _use_callback_headers(self, new: Settings) -> None:
        self.callback_headers = rotated_headers(new, self.callback_headers)
        self.dlr.use_headers(self.callback_headers)
        self.client.use_callback_headers(self.callback_headers)

    def _build_operations(self) -> None:
        settings = self.settings
        self.operations = OperationsStore(self.database)
        self.gauges = Gauges(
            metrics=self.metrics,
            watch=self.watch,
            clock=self.clock,
            databases=self._databases.pools,
            is_circuit_open=lambda: self.breaker.is_open,
            spool=self.spool,
            folder=settings.spool_dir,
        )
        self.alarms = AlarmWatch(
            store=self.operations,
            database=self.database,
            gauges=self.gauges,
            recent=self.recent,
            clock=self.clock,
            every=settings.ops_interval,
            silence_after=settings.silence_after,
            overdue_after=timedelta(seconds=settings.overdue_after),
            marks=self._marks,
            on_queued=partial(self.wakeups.announce, WEBHOOKS),
        )

    def _marks(self, salt: str) -> list[str]:
        return self.callback_headers.marks(salt)

    def _build_console(self) -> None:
        self.console = build_console(
            self.settings,
            database=self.database,
            lookups=self.lookups,
            rejected=self.rejected,
            subscriptions=self.subscriptions,
            operations=self.operations,
            stats=self.stats,
            auditor=self.auditor,
            failures=self.failures,
            now=self._now,
        )

    def _build_evidence(self) -> None:
        built = build_evidence(
            self.settings,
            database=self.database,
            history=self.history,
            metrics=self.metrics,
            now=self._now,
        )
        self.evidence = built[0] if built else None
        self.evidence_worker = built[1] if built else None

    def _wake_senders(self) -> None:
        self.wakeups.announce(QUEUE)
        self.wakeups.announce(WEBHOOKS)

    def _build_record(self) -> None:
        built = build_record_keeping(
            self.settings,
            database=self.database,
            stats=self.stats,
            journal=self.journal,
            erased=self.erased_lately,
            cancel=self.sender.take_back,
            cleanse_spool=self.spool.cleanse,
            wakeups=self.wakeups,
        )
        self.roller = built.roller
        self.retention = built.retention
        self.eraser = built.eraser
        self.disk = built.disk

    def _purge_again(self, before: datetime) -> None:
        """Repeat a purge that the database has forgotten, in the background."""
        purger = Purger(RetentionStore(self.database))
        self._run(purger.purge_until_done(before, actor=SERVICE), "purge again")

    async def _greet(self) -> None:
        await self.keeper.greet()  # built after the databases, which it works on

    def _forget(self, last_event: int) -> None:
        """The database has begun a new incarnation."""
        self._databases.drop_idle()
        self.hub.rewind(last_event)
