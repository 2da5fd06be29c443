"""Builds what sends: iovox's client, the queue's worker, and what recovers from crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from yarl import URL

from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.ops.logs import StepLog
from app.ops.metrics import Metrics
from app.ops.recent import Recent
from app.receive.endpoint import PATH as DLR_PATH
from app.record.journal import Journal
from app.runtime.configured import iovox_tls, plain
from app.runtime.traces import Traces
from app.send.breaker import CircuitBreaker
from app.send.gate import POOL_TIMEOUT, POOL_TIMEOUT_UNDER_A_RATE, Gate
from app.send.outcome_recorder import OutcomeRecorder
from app.send.queue import QueueWorker
from app.send.rates import KeyRates
from app.send.sender import Sender
from app.send.submitter import Submitter
from app.send.sweeper import Sweeper
from app.settings import Settings
from app.store.clock import Now
from app.store.engine import Database
from app.store.idempotency import IdempotencyStore
from app.store.messages import MessageStore
from app.store.pace import PaceStore
from app.store.wakeups import EVENTS, QUEUE, Wakeups

RESERVED_DIVISOR = 4
"""1 / 4 of the connections to iovox is reserved for API requests; the queue uses the others."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What was built."""

    client: IovoxClient
    breaker: CircuitBreaker
    outcomes: OutcomeRecorder
    submitter: Submitter
    queue: QueueWorker
    sweeper: Sweeper
    sender: Sender


def build_sending(
    settings: Settings,
    *,
    database: Database,
    store: MessageStore,
    journal: Journal,
    headers: CallbackHeaders,
    proxy: URL | None,
    is_held: Callable[[], bool],
    wakeups: Wakeups,
    metrics: Metrics,
    recent: Recent,
    steps: StepLog,
    traces: Traces,
    now: Now,
) -> Sending:
    """``is_held``: whether the queue is. Raises ConfigurationError."""
    rate = settings.iovox_rate
    announce = partial(wakeups.announce, EVENTS)
    client = IovoxClient(
        base_url=settings.iovox_url,
        username=settings.iovox_username or "",
        secure_key=plain(settings.iovox_secure_key) or "",
        callback_url=f"{settings.public_url}{DLR_PATH}",
        callback_headers=headers,
        pool_timeout=POOL_TIMEOUT_UNDER_A_RATE if rate else POOL_TIMEOUT,
        connect_timeout=settings.iovox_connect_timeout,
        read_timeout=settings.iovox_read_timeout,
        max_connections=settings.iovox_max_connections,
        retry_on_500=settings.retry_on_500,
        tls=iovox_tls(settings),
        proxy=proxy,
    )
    breaker = CircuitBreaker(probe_patience=client.max_duration)
    gate = Gate(
        breaker=breaker,
        pace=PaceStore(database, every=timedelta(seconds=1 / rate)) if rate else None,
        rate=rate,
        is_any_due=None if settings.queue_workers else store.is_any_due,
        is_held=is_held,
        now=now,
    )
    outcomes = OutcomeRecorder(
        store=store, announce=announce, journal=journal, steps=steps, now=now
    )
    submitter = Submitter(
        client=client,
        recorder=outcomes,
        breaker=breaker,
        metrics=metrics,
        recent=recent,
        tracer=traces.tracer,
        throttle=gate.throttle,
        now=now,
        journal=journal,
    )
    most = settings.iovox_max_connections
    queue = QueueWorker(
        store=store,
        submitter=submitter,
        gate=gate,
        concurrency=max(1, most - most // RESERVED_DIVISOR),
        journal=journal,
        now=now,
    )
    keys = IdempotencyStore(database)
    sweeper = Sweeper(
        store=store,
        keys=keys,
        recorder=outcomes,
        is_under_way=submitter.is_under_way,
        now=now,
    )
    sender = Sender(
        store=store,
        keys=keys,
        submitter=submitter,
        gate=gate,
        rates=KeyRates(settings.key_rate),
        wake=partial(wakeups.announce, QUEUE),
        announce=announce,
        horizon=timedelta(seconds=settings.schedule_horizon),
        retry_for=timedelta(seconds=settings.retry_for),
        steps=steps,
        now=now,
        journal=journal,
    )
    return Sending(client, breaker, outcomes, submitter, queue, sweeper, sender)
