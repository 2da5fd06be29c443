"""The composition root: builds everything without I/O, starts it in order, stops it in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import structlog

from app.auth import Authenticator
from app.errors import ConfigurationError
from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.metrics import Metrics
from app.receive.drainer import Drainer
from app.receive.inbox import Inbox
from app.receive.recorder import Recorder
from app.receive.routes import PATH as DLR_PATH
from app.receive.routes import DlrEndpoint
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.send.gate import Breaker, Gate
from app.send.queue import QueueWorker
from app.send.sender import Sender
from app.send.submitter import Submitter
from app.settings import Settings, variable
from app.store.engine import Database
from app.store.history import HistoryStore
from app.store.idempotency import IdempotencyStore
from app.store.keys import KeyStore
from app.store.messages import MessageStore
from app.store.pace import PaceStore
from app.store.receipts import ReceiptStore
from app.store.schema import migrate, require_current
from app.store.wakeups import QUEUE, Wakeups
from app.store.watch import DatabaseWatch

STOP_PATIENCE = 10.0
"""Seconds for each part to stop. What is not recorded by then is in the spool or under a lease."""

log = structlog.get_logger(__name__)


class Runtime:
    """Everything the service is made of. Raises ConfigurationError for settings that contradict."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._tasks: list[asyncio.Task[None]] = []
        self._build_store()
        self._build_receive()
        self._build_send()

    def _build_store(self) -> None:
        settings = self.settings
        self.database = open_database(settings)
        self.watch = DatabaseWatch(lambda: require_current(self.database))
        self.wakeups = Wakeups(self.database)
        self.authenticator = Authenticator(KeyStore(self.database))
        self.history = HistoryStore(self.database)
        self.messages = MessageStore(self.database)
        self.receipts = ReceiptStore(self.database)

    def _build_receive(self) -> None:
        settings = self.settings
        self.callback_headers = callback_headers(settings)
        self.recorder = Recorder(store=self.receipts, metrics=self.metrics)
        self.spool = SpoolQueue(Spool(settings.spool_dir))
        self.inbox = Inbox(
            recorder=self.recorder,
            spool=self.spool,
            watch=self.watch,
            metrics=self.metrics,
            patience=settings.commit_timeout,
        )
        self.drainer = Drainer(
            spool=self.spool,
            recorder=self.recorder,
            watch=self.watch,
            metrics=self.metrics,
            lock=settings.spool_dir / "drain.lock",
        )
        self.dlr = DlrEndpoint(
            inbox=self.inbox, headers=self.callback_headers, metrics=self.metrics
        )

    def _build_send(self) -> None:
        settings = self.settings
        self.client = IovoxClient(
            base_url=settings.iovox_url,
            username=settings.iovox_username or "",
            secure_key=settings.iovox_secure_key.get_secret_value()
            if settings.iovox_secure_key
            else "",
            callback_url=f"{settings.public_url}{DLR_PATH}",
            callback_headers=self.callback_headers,
            connect_timeout=settings.iovox_connect_timeout,
            read_timeout=settings.iovox_read_timeout,
            max_connections=settings.iovox_max_connections,
            retry_on_500=settings.retry_on_500,
        )
        breaker = Breaker()
        rate = settings.iovox_rate
        pace = PaceStore(self.database, every=timedelta(seconds=1 / rate)) if rate else None
        gate = Gate(breaker=breaker, pace=pace)
        self.submitter = Submitter(
            store=self.messages, client=self.client, breaker=breaker, metrics=self.metrics
        )
        self.queue = QueueWorker(
            store=self.messages,
            submitter=self.submitter,
            gate=gate,
            concurrency=settings.iovox_max_connections,
        )
        self.sender = Sender(
            store=self.messages,
            keys=IdempotencyStore(self.database),
            submitter=self.submitter,
            gate=gate,
            wake=lambda: self.wakeups.announce(QUEUE),
            horizon=timedelta(seconds=settings.schedule_horizon),
            retry_for=timedelta(seconds=settings.retry_for),
        )

    async def start(self) -> None:
        """Ready to receive when it returns, whether or not the database is there.

        Raises ConfigurationError for an unwritable spool, SchemaBehind for a database that is
        there but not migrated (SQLite is migrated at once: it has no one else to do it).
        """
        self.spool.open()
        if self.database.is_sqlite:
            await migrate(self.database)
        await self.watch.check_now()
        if not self.watch.is_up:
            log.error("started_without_database", reason=self.watch.reason)
        self._run(self.watch.run(), "watch")
        self._run(self.wakeups.run(), "wakeups")
        self._run(self.drainer.run(), "drainer")
        if self.settings.queue_workers:
            self.wakeups.listen(QUEUE, self.queue.wake)
            self._run(self.queue.run(), "queue")
            self._run(self.queue.sweep(), "sweep")

    async def stop(self) -> None:
        """Finish what was taken, in reverse order, each part within STOP_PATIENCE."""
        for task in reversed(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for name, close in (
            ("sender", self.sender.close),
            ("queue", self.queue.close),
            ("submitter", self.submitter.close),
            ("iovox client", self.client.aclose),
            ("inbox", self.inbox.close),
            ("spool", self.spool.close),
            ("database", self.database.close),
        ):
            try:
                async with asyncio.timeout(STOP_PATIENCE):
                    await close()
            except TimeoutError:
                log.error("stop_took_too_long", part=name)

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))


def open_database(settings: Settings) -> Database:
    """The database that the settings name. Raises ConfigurationError."""
    try:
        return Database(settings.database_url, pool_size=settings.database_pool)
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
