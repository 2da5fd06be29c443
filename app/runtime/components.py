"""All components of the service, built without I/O from the settings.

The settings are trusted, as they come from the operator, and validated before anything starts.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from functools import partial

import structlog

from app.errors import ConfigurationError, StoreRefused, StoreUnavailable
from app.feed.hub import Hub
from app.iovox.client import IovoxClient
from app.lookup.lookups import Lookups
from app.lookup.waiters import StatusWaiters
from app.ops.alarms.watch import AlarmWatch
from app.ops.gauges import Gauges
from app.ops.logs import StepLog
from app.ops.metrics import Metrics
from app.ops.recent import Recent
from app.parts.lifecycle import Background
from app.parts.networks import read_networks
from app.parts.rereading import Rereader
from app.parts.throttle import Throttle
from app.receive.drainer import Drainer
from app.receive.endpoint import PATH as DLR_PATH
from app.receive.endpoint import DlrEndpoint
from app.receive.inbox import Inbox
from app.receive.recorder import Recorder
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.receive.tally import Tally
from app.record.audit import Auditor
from app.record.disks import DiskKeeper
from app.record.erased_lately import ErasedLately
from app.record.erasure import Eraser
from app.record.journal import Journal
from app.record.retention import SERVICE, Purger, Retention
from app.record.rollups import Roller
from app.runtime.configured import (
    callback_headers,
    days,
    iovox_proxy,
    iovox_tls,
    open_database,
    plain,
    sealer,
    warn_of_short_secret,
)
from app.runtime.console import build_console
from app.runtime.evidence import build_evidence
from app.runtime.journal import build_keeper
from app.runtime.traces import Traces
from app.send.breaker import CircuitBreaker
from app.send.gate import POOL_TIMEOUT, POOL_TIMEOUT_UNDER_A_RATE, Gate
from app.send.outcome_recorder import OutcomeRecorder
from app.send.queue import QueueWorker
from app.send.rates import KeyRates
from app.send.sender import Sender
from app.send.submitter import Submitter
from app.send.sweeper import Sweeper
from app.server.limits import raise_file_limit
from app.settings import Settings, erasure_key, read_secrets_again, variable
from app.store.audit import AuditStore
from app.store.clock import DatabaseClock
from app.store.clock_watch import ClockWatch
from app.store.erasing.disks import DiskStore
from app.store.erasing.store import ErasureStore
from app.store.feed import FeedStore
from app.store.history import HistoryStore
from app.store.idempotency import IdempotencyStore
from app.store.keys import KeyStore
from app.store.lists.store import ListStore
from app.store.messages import MessageStore
from app.store.operations import OperationsStore
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.outbox.store import OutboxStore
from app.store.pace import PaceStore
from app.store.permission import Permit
from app.store.receipts import ReceiptStore
from app.store.removals import RemovalStore
from app.store.retention import RetentionStore
from app.store.rollups import RollupStore
from app.store.schema_guard import SchemaGuard
from app.store.setback import SetbackStore
from app.store.stats import StatsStore
from app.store.unmatched import UnmatchedStore
from app.store.wakeups import EVENTS, QUEUE, WEBHOOKS, Wakeups
from app.store.watch import CHECK_PATIENCE, DatabaseWatch
from app.store.webhooks import WebhookStore
from app.store.writable import require_writable
from app.web.addresses import Callers
from app.web.body import Bodies
from app.web.caller import Authenticator
from app.web.failures import Failures
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.schedule import Schedule
from app.webhooks.subscriptions import Subscriptions
from app.webhooks.targets import Targets

INTAKE_CONNECTIONS = 6
"""Database connections reserved for receipts, which must not wait for the API's queries."""
INTAKE_ASYNCPG_CONNECTIONS = 4
"""Of these, in asyncpg's pool, for batches of receipts: two in parallel, the drainer, and one that
hangs. The others are SQLAlchemy's, for rejected calls and for health checks."""

RETRY_EVERY = 5.0
"""Seconds until a purge that is repeated is tried again."""
RESERVED_DIVISOR = 4
"""1 / 4 of the connections to iovox is reserved for API requests; the queue uses the others."""


log = structlog.get_logger(__name__)


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
        self.database = open_database(settings, clock=self.clock)
        self.intake = (
            self.database
            if self.database.is_sqlite
            else open_database(
                settings,
                pool_size=INTAKE_CONNECTIONS,
                direct_size=INTAKE_ASYNCPG_CONNECTIONS,
                clock=self.clock,
            )
        )
        self._writable_server: object = None
        self.schema = SchemaGuard((self.intake, self.database))
        self.watch = DatabaseWatch(
            self._require_usable,
            on_down=self._drop_idle_connections,
            on_up=self._drop_connections_elsewhere,
            name=self.database.name,
            patience=CHECK_PATIENCE + self.database.failover_time,
        )
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
        self.recorder = Recorder(
            store=self.receipts,
            metrics=self.metrics,
            announce=self._announce_events,
            journal=self.journal,
            erased=self.erased_lately,
        )
        self.keeper = build_keeper(
            settings,
            database=self.database,
            journal=self.journal,
            permit=self.permit,
            recorder=Recorder(  # without a journal: what it records comes out of one
                store=self.receipts, metrics=self.metrics, announce=self._announce_events
            ),
            purge=self._purge_again,
            on_forgotten=self._forget,
        )
        self.spool = SpoolQueue(Spool(settings.spool_dir))
        self.inbox = Inbox(
            recorder=self.recorder,
            spool=self.spool,
            watch=self.watch,
            metrics=self.metrics,
            patience=settings.commit_timeout,
            writers=self.intake.writes_at_once,
            erased=self.erased_lately,
        )
        self.drainer = Drainer(
            spool=self.spool,
            recorder=self.recorder,
            watch=self.watch,
            metrics=self.metrics,
            lock=settings.spool_dir / "drain.lock",
        )
        self.dlr = DlrEndpoint(
            inbox=self.inbox,
            headers=self.callback_headers,
            tally=Tally(
                metrics=self.metrics,
                recent=self.recent,
                steps=self.steps,
                tracer=self.traces.tracer,
            ),
            body_patience=settings.body_timeout,
            now=self._now,
            callers=self.callers,
            allowed=read_networks(settings.allowed_callers),
        )

    def _build_send(self) -> None:
        settings = self.settings
        rate = settings.iovox_rate
        self.iovox_proxy = iovox_proxy(settings)
        self.client = IovoxClient(
            base_url=settings.iovox_url,
            username=settings.iovox_username or "",
            secure_key=plain(settings.iovox_secure_key) or "",
            callback_url=f"{settings.public_url}{DLR_PATH}",
            callback_headers=self.callback_headers,
            pool_timeout=POOL_TIMEOUT_UNDER_A_RATE if rate else POOL_TIMEOUT,
            connect_timeout=settings.iovox_connect_timeout,
            read_timeout=settings.iovox_read_timeout,
            max_connections=settings.iovox_max_connections,
            retry_on_500=settings.retry_on_500,
            tls=iovox_tls(settings),
            proxy=self.iovox_proxy,
        )
        breaker = self.breaker = CircuitBreaker(probe_patience=self.client.max_duration)
        pace = PaceStore(self.database, every=timedelta(seconds=1 / rate)) if rate else None
        is_any_due = None if settings.queue_workers else self.messages.is_any_due
        gate = Gate(
            breaker=breaker,
            pace=pace,
            rate=rate,
            is_any_due=is_any_due,
            is_held=lambda: self.keeper.is_held,
            now=self._now,
        )
        keys = IdempotencyStore(self.database)
        most = settings.iovox_max_connections
        self.outcomes = OutcomeRecorder(
            store=self.messages,
            announce=self._announce_events,
            journal=self.journal,
            steps=self.steps,
            now=self._now,
        )
        self.submitter = Submitter(
            client=self.client,
            recorder=self.outcomes,
            breaker=breaker,
            metrics=self.metrics,
            recent=self.recent,
            tracer=self.traces.tracer,
            throttle=gate.throttle,
            now=self._now,
            journal=self.journal,
        )
        self.queue = QueueWorker(
            store=self.messages,
            submitter=self.submitter,
            gate=gate,
            concurrency=max(1, most - most // RESERVED_DIVISOR),
            journal=self.journal,
            now=self._now,
        )
        self.sweeper = Sweeper(
            store=self.messages,
            keys=keys,
            recorder=self.outcomes,
            is_under_way=self.submitter.is_under_way,
            now=self._now,
        )
        self.sender = Sender(
            store=self.messages,
            keys=keys,
            submitter=self.submitter,
            gate=gate,
            rates=KeyRates(settings.key_rate),
            wake=partial(self.wakeups.announce, QUEUE),
            announce=self._announce_events,
            horizon=timedelta(seconds=settings.schedule_horizon),
            retry_for=timedelta(seconds=settings.retry_for),
            steps=self.steps,
            now=self._now,
            journal=self.journal,
        )

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
        settings = self.settings
        targets = Targets(
            allow_http=settings.webhook_allow_http,
            allowed=read_networks(settings.webhook_allowed_networks),
        )
        self.subscriptions = Subscriptions(
            store=WebhookStore(self.database, self.sealer),
            deliveries=WebhookDeliveryStore(self.database),
            targets=targets,
            on_change=partial(self.wakeups.announce, WEBHOOKS),
            now=self._now,
        )
        schedule = Schedule(
            timeout=settings.webhook_timeout,
            first_retry=settings.webhook_first_retry,
            longest_retry=settings.webhook_longest_retry,
            give_up_after=settings.webhook_give_up_after,
            concurrency=settings.webhook_concurrency,
        )
        self.dispatcher = Dispatcher(
            outbox=OutboxStore(self.database, self.sealer),
            schedule=schedule,
            targets=targets,
            metrics=self.metrics,
            tracer=self.traces.tracer,
            keep_for=settings.webhook_keep_for,
            max_sockets=files // 4,
            now=self._now,
        )
        longest_pause = max(schedule.longest_retry, schedule.longest_pause)
        self.clock_watch = ClockWatch(
            self.intake,
            setback=SetbackStore(
                self.database,
                webhook_lease=timedelta(seconds=schedule.lease),
                webhook_pause=timedelta(seconds=longest_pause),
            ),
            on_mended=self._wake_senders,
        )

    def _build_secrets(self) -> None:
        """What is given to whom where a secret's file says something new (SIGHUP)."""
        self.secrets = Rereader(
            self.settings,
            read=read_secrets_again,
            replace=lambda settings, fields: settings.model_copy(update=fields),
            refusals=(ValueError, ConfigurationError),
            uses={
                ("database_url",): self._use_database_url,
                ("callback_url_headers", "callback_previous_secrets"): self._use_callback_headers,
                ("iovox_secure_key",): lambda new: self.client.use_key(
                    plain(new.iovox_secure_key) or ""
                ),
                ("iovox_proxy",): lambda new: self.client.use_proxy(iovox_proxy(new)),
                ("encryption_key",): lambda new: self.sealer.use(plain(new.encryption_key) or ""),
            },
        )

    def _use_database_url(self, new: Settings) -> None:
        for database in (self.database, self.intake):
            database.use_url(new.database_url)

    def _use_callback_headers(self, new: Settings) -> None:
        headers = callback_headers(new)
        if headers.auth_header != self.callback_headers.auth_header:
            raise ValueError("another header would carry the secret: that needs a restart")
        if self.callback_headers.secrets[0] not in headers.secrets:
            log.warning(
                "callback_secret_dropped",
                consequence="receipts of messages that were sent with it are refused",
                remedy=f"leave it in {variable('callback_previous_secrets')} for some days",
            )
        warn_of_short_secret(headers)
        self.callback_headers = headers
        self.dlr.use_headers(headers)
        self.client.use_callback_headers(headers)

    def _build_operations(self) -> None:
        settings = self.settings
        databases = {id(one): one for one in (self.database, self.intake)}
        self.operations = OperationsStore(self.database)
        self.gauges = Gauges(
            metrics=self.metrics,
            watch=self.watch,
            clock=self.clock,
            databases=tuple(databases.values()),
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
        settings = self.settings
        tasks = RetentionStore(self.database)
        self.roller = Roller(RollupStore(self.database, self.stats), tasks)
        self.retention = Retention(
            tasks,
            keep_texts_for=days(settings.keep_texts_for),
            keep_for=days(settings.keep_for),
        )
        store = ErasureStore(self.database)
        self.eraser = Eraser(
            store,
            cancel=self.sender.take_back,
            key=erasure_key(settings),
            announce=self._announce_events,
            wake=partial(self.wakeups.announce, WEBHOOKS),
        )
        keep_texts_for = settings.keep_texts_for
        self.disk = DiskKeeper(
            store=store,
            disks=DiskStore(self.database),
            removals=RemovalStore(self.database),
            folder=settings.spool_dir,
            journal=self.journal,
            cleanse_spool=self.spool.cleanse,
            erased=self.erased_lately,
            keep_for=settings.journal_for,
            drops_texts=keep_texts_for is not None
            and timedelta(days=keep_texts_for).total_seconds() < settings.journal_for,
        )

    def _purge_again(self, before: datetime) -> None:
        """The database was set back to before a purge."""

        async def purge() -> None:
            while True:
                try:
                    await Purger(RetentionStore(self.database)).purge(before, actor=SERVICE)
                except (StoreUnavailable, StoreRefused) as error:
                    log.warning("purge_waits", reason=error.detail)
                    await asyncio.sleep(RETRY_EVERY)
                else:
                    return

        self._run(purge(), "purge again")

    async def _require_usable(self) -> None:
        self._writable_server = await require_writable(self.intake)
        # Before the greeting, which waits for a beat that may hang at a primary that is silent.
        self._drop_connections_elsewhere()
        await self.schema.check()
        await self.keeper.greet()

    def _forget(self, last_event: int) -> None:
        """The database has begun a new incarnation."""
        self._drop_idle_connections()
        self.hub.rewind(last_event)

    def _drop_idle_connections(self) -> None:
        self.intake.drop_idle()
        self.database.drop_idle()

    def _drop_connections_elsewhere(self) -> None:
        """What was begun on a primary that is dead and silent would wait for it many seconds."""
        for database in (self.intake, self.database):
            database.drop_elsewhere(self._writable_server)
