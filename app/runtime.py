"""The composition root: builds everything without I/O, starts it in order, stops it in reverse."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from datetime import timedelta
from functools import partial

import structlog
from yarl import URL

from app.errors import ConfigurationError, SchemaBehind, StoreUnavailable
from app.feed.hub import Hub
from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.iovox.proxy import find_proxy
from app.iovox.tls import tls_context
from app.lookup.lookups import Lookups
from app.lookup.waiting import WaitingRoom
from app.ops.metrics import Metrics
from app.parts.lifecycle import Background, Close, close_in_order
from app.receive.drainer import Drainer
from app.receive.endpoint import PATH as DLR_PATH
from app.receive.endpoint import DlrEndpoint
from app.receive.inbox import Inbox
from app.receive.recorder import Recorder
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.send.breaker import CircuitBreaker
from app.send.gate import POOL_TIMEOUT, POOL_TIMEOUT_UNDER_A_RATE, Gate
from app.send.outcome_recorder import OutcomeRecorder
from app.send.queue import QueueWorker
from app.send.rates import KeyRates
from app.send.sender import Sender
from app.send.submitter import Submitter
from app.send.sweeper import Sweeper
from app.server.limits import raise_file_limit
from app.settings import Settings, variable
from app.store.engine import Database
from app.store.feed import FeedStore
from app.store.history import HistoryStore
from app.store.idempotency import IdempotencyStore
from app.store.keys import KeyStore
from app.store.lists.store import ListStore
from app.store.messages import MessageStore
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.outbox.store import OutboxStore
from app.store.pace import PaceStore
from app.store.receipts import ReceiptStore
from app.store.schema import migrate, require_current
from app.store.stats import StatsStore
from app.store.wakeups import EVENTS, QUEUE, WEBHOOKS, Wakeups
from app.store.watch import DatabaseWatch
from app.store.webhooks import WebhookStore
from app.web.caller import Authenticator
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.schedule import Schedule
from app.webhooks.subscriptions import Subscriptions
from app.webhooks.targets import Targets, read_networks

LISTENING = 1
"""Of a process's connections to the database, the one that listens for notifications."""
INTAKE_CONNECTIONS = 6
"""To the database, for receipts alone: in the common pool they would have to wait for whatever the
API's callers ask for."""
INTAKE_DIRECT = 4
"""Of these, for batches of receipts: two at once, the drainer, and one that hangs. The others are
for rejected calls and for the checks whether the database is there."""
SHARE_FOR_PARTS = 0.3
"""Of the time that a stop may take: the rest is for the requests that are being answered."""

KEPT_FOR_CALLERS = 4
"""One in so many connections to iovox is left to callers who wait, whatever the queue sends."""

log = structlog.get_logger(__name__)


class Runtime:
    """Everything the service is made of. Raises ConfigurationError for settings that contradict."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._background = Background()
        self._run = self._background.run
        self._build_store()
        self._build_receive()
        self._build_send()
        self._build_lookup()
        self._build_notify()

    def _build_store(self) -> None:
        settings = self.settings
        self.database = open_database(settings)
        self.intake = (
            self.database
            if self.database.is_sqlite
            else open_database(settings, pool_size=INTAKE_CONNECTIONS, direct_size=INTAKE_DIRECT)
        )
        self.watch = DatabaseWatch(self._require_usable, on_down=self._drop_connections)
        self.wakeups = Wakeups(self.database)
        self._announce_events = partial(self.wakeups.announce, EVENTS)
        self.keys = KeyStore(self.database)
        self.authenticator = Authenticator(self.keys)
        self.history = HistoryStore(self.database)
        self.messages = MessageStore(self.database)
        self.receipts = ReceiptStore(self.intake)
        self.rejected = ReceiptStore(self.database)  # for people: not out of the intake's pool

    def _build_receive(self) -> None:
        settings = self.settings
        self.callback_headers = callback_headers(settings)
        self.recorder = Recorder(
            store=self.receipts, metrics=self.metrics, announce=self._announce_events
        )
        self.spool = SpoolQueue(Spool(settings.spool_dir))
        self.inbox = Inbox(
            recorder=self.recorder,
            spool=self.spool,
            watch=self.watch,
            metrics=self.metrics,
            patience=settings.commit_timeout,
            writers=self.intake.writes_at_once,
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
            metrics=self.metrics,
            body_patience=settings.body_timeout,
        )

    def _build_send(self) -> None:
        settings = self.settings
        rate = settings.iovox_rate
        self.iovox_proxy = iovox_proxy(settings)
        self.client = IovoxClient(
            base_url=settings.iovox_url,
            username=settings.iovox_username or "",
            secure_key=settings.iovox_secure_key.get_secret_value()
            if settings.iovox_secure_key
            else "",
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
        breaker = CircuitBreaker()
        pace = PaceStore(self.database, every=timedelta(seconds=1 / rate)) if rate else None
        is_any_due = None if settings.queue_workers else self.messages.is_any_due
        gate = Gate(breaker=breaker, pace=pace, rate=rate, is_any_due=is_any_due)
        keys = IdempotencyStore(self.database)
        most = settings.iovox_max_connections
        self.outcomes = OutcomeRecorder(store=self.messages, announce=self._announce_events)
        self.submitter = Submitter(
            client=self.client,
            recorder=self.outcomes,
            breaker=breaker,
            metrics=self.metrics,
            throttle=gate.throttle,
        )
        self.queue = QueueWorker(
            store=self.messages,
            submitter=self.submitter,
            gate=gate,
            concurrency=max(1, most - most // KEPT_FOR_CALLERS),
        )
        self.sweeper = Sweeper(store=self.messages, keys=keys, recorder=self.outcomes)
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
        )

    def _build_lookup(self) -> None:
        patience = timedelta(seconds=self.settings.overdue_after)
        self.waiting_room = WaitingRoom(self.history.statuses)
        self.lookups = Lookups(
            history=self.history,
            lists=ListStore(self.database, patience=patience),
            stats=StatsStore(self.database),
            room=self.waiting_room,
            patience=patience,
        )

    def _build_notify(self) -> None:
        files = raise_file_limit()
        self.feed = FeedStore(self.database)
        self.hub = Hub(
            feed=self.feed,
            metrics=self.metrics,
            max_streams=files // 2,  # the other half is for whoever does not stay
            heartbeat=self.settings.stream_heartbeat,
            valid_keys=self.keys.valid,
        )
        settings = self.settings
        targets = Targets(
            allow_http=settings.webhook_allow_http,
            allowed=read_networks(settings.webhook_allowed_networks),
        )
        self.subscriptions = Subscriptions(
            store=WebhookStore(self.database),
            deliveries=WebhookDeliveryStore(self.database),
            targets=targets,
            on_change=partial(self.wakeups.announce, WEBHOOKS),
        )
        self.dispatcher = Dispatcher(
            outbox=OutboxStore(self.database),
            schedule=Schedule(
                timeout=settings.webhook_timeout,
                first_retry=settings.webhook_first_retry,
                longest_retry=settings.webhook_longest_retry,
                give_up_after=settings.webhook_give_up_after,
                concurrency=settings.webhook_concurrency,
            ),
            targets=targets,
            metrics=self.metrics,
            keep_for=settings.webhook_keep_for,
            max_sockets=files // 4,
        )

    async def start(self) -> None:
        """Ready to receive when it returns, whether or not the database is there.

        A spool that cannot be written and a schema that is behind are for the command to refuse to
        start on. Here a server process may be replacing one that died, and with the other half of
        the two it still receives. (SQLite is migrated: it has no one else to do it.)
        """
        self.spool.open()
        if self.database.is_sqlite:
            with suppress(StoreUnavailable):  # said below
                await migrate(self.database)  # takes what time it needs, unlike a check
        with suppress(SchemaBehind):
            await self.watch.check_now()
        if not self.watch.is_up:
            log.error("started_without_database", reason=self.watch.reason)
        self._run(self.watch.run(), "watch")
        self._run(self.wakeups.run(), "wakeups")
        self._run(self.drainer.run(), "drainer")
        self.wakeups.listen(EVENTS, self.waiting_room.wake)
        self._run(self.waiting_room.run(), "waiting room")
        self.wakeups.listen(EVENTS, self.hub.wake)
        self._run(self.hub.run(), "hub")
        self._run(self.hub.send_heartbeats(), "heartbeats")
        self._run(self.hub.check_keys(), "stream keys")
        self._run_sending(with_queue=self.settings.queue_workers)

    async def start_worker(self) -> None:
        """Send what is queued, and nothing else: for a process that answers no HTTP.

        It needs no spool. Raises SchemaBehind; ``stop`` ends it.
        """
        if self.database.is_sqlite:
            await migrate(self.database)
        await self.watch.check_now()
        if not self.watch.is_up:
            log.error("started_without_database", reason=self.watch.reason)
        self._run(self.watch.run(), "watch")
        self._run(self.wakeups.run(), "wakeups")
        self._run_sending(with_queue=True)

    def _run_sending(self, *, with_queue: bool) -> None:
        """Every process sweeps: what it leaves behind in a crash, any other one finds."""
        if (proxy := self.iovox_proxy) is not None:
            # It may come from a variable that somebody set for other programs.
            log.info("iovox_through_proxy", proxy=f"{proxy.host}:{proxy.port}")
        self._run(self.sweeper.run(), "sweeper")
        self._run(self.sweeper.run_key_expiry(), "idempotency keys")
        if with_queue:
            self.wakeups.listen(QUEUE, self.queue.wake)
            self._run(self.queue.run(), "queue")
            self.wakeups.listen(EVENTS, self.dispatcher.wake_for_events)
            self.wakeups.listen(WEBHOOKS, self.dispatcher.wake)
            self._run(self.dispatcher.run(), "webhooks")
            self._run(self.dispatcher.renew_leases(), "webhook leases")
            self._run(self.dispatcher.purge_history(), "webhook history")

    async def stop(self) -> None:
        """Finish what was taken, in reverse order, within a share of the time a stop may take.

        What is not recorded by then is in the spool or under a lease.
        """
        allowed = self.settings.shutdown_timeout * SHARE_FOR_PARTS
        if not self.watch.is_up:
            allowed /= 3  # what waits for the database waits in vain
        deadline = asyncio.get_running_loop().time() + allowed
        await self._background.cancel(patience=allowed / 3)
        sending: dict[str, Close] = {
            "sender": self.sender.close,
            "queue": self.queue.close,
            "outcomes": self.outcomes.close,
            "iovox client": self.client.aclose,
        }
        receiving: dict[str, Close] = {"inbox": self.inbox.close, "spool": self.spool.close}
        telling: dict[str, Close] = {"webhooks": self.dispatcher.close}
        stores: dict[str, Close] = {"database": self.database.close, "intake": self.intake.close}
        chains = (sending, receiving, telling)
        await asyncio.gather(*(close_in_order(parts, deadline=deadline) for parts in chains))
        await close_in_order(stores, deadline=deadline)

    def end_streams(self) -> None:
        """The server begins to exit: end what would otherwise go on for ever."""
        self.waiting_room.close()
        self.hub.close()

    async def _require_usable(self) -> None:
        try:
            await require_current(self.intake)
        except SchemaBehind:
            if not self.database.is_sqlite:
                raise
            await migrate(self.database)

    def _drop_connections(self) -> None:
        self.intake.drop_idle()
        self.database.drop_idle()


def open_database(
    settings: Settings, *, pool_size: int | None = None, direct_size: int | None = None
) -> Database:
    """The database that the settings name. Raises ConfigurationError."""
    pool_size = pool_size or settings.database_pool - LISTENING
    try:
        return Database(settings.database_url, pool_size=pool_size, direct_size=direct_size)
    except ValueError as error:
        raise ConfigurationError(
            f"A setting cannot be used.\n  {variable('database_url')}: {error}"
        ) from error


def callback_headers(settings: Settings) -> CallbackHeaders:
    """What authenticates a receipt. Raises ConfigurationError, which names no secret."""
    secret = settings.callback_url_headers
    previous = settings.callback_previous_secrets.get_secret_value()
    try:
        return CallbackHeaders.parse(
            secret.get_secret_value() if secret else "",
            auth_header=settings.callback_auth_header,
            previous_secrets=[value.strip() for value in previous.split(",") if value.strip()],
        )
    except ValueError as error:
        raise ConfigurationError(f"A setting cannot be used.\n  {error}") from error


def iovox_proxy(settings: Settings) -> URL | None:
    """The proxy on the way to iovox, if any. Raises ConfigurationError, which names no password."""
    written = settings.iovox_proxy
    try:
        return find_proxy(settings.iovox_url, written.get_secret_value() if written else None)
    except ValueError as error:
        raise ConfigurationError(f"A setting cannot be used.\n  {error}") from error


def iovox_tls(settings: Settings) -> ssl.SSLContext | None:
    """Whom to trust as iovox; None for http. Raises ConfigurationError for a file of no use."""
    if settings.iovox_ca_file is None and settings.iovox_url.startswith("http:"):
        return None
    try:
        return tls_context(settings.iovox_ca_file)
    except ValueError as error:
        raise ConfigurationError(
            f"A setting cannot be used.\n  {variable('iovox_ca_file')}: {error}"
        ) from error
