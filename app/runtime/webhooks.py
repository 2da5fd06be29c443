"""Builds the webhooks' subscriptions and the dispatcher that delivers to them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from app.ops.metrics import Metrics
from app.parts.networks import read_networks
from app.parts.sealing import Sealer
from app.runtime.traces import Traces
from app.settings import Settings
from app.store.clock import Now
from app.store.engine import Database
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.outbox.store import OutboxStore
from app.store.wakeups import WEBHOOKS, Wakeups
from app.store.webhooks import WebhookStore
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.schedule import Schedule
from app.webhooks.subscriptions import Subscriptions
from app.webhooks.targets import Targets


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What was built."""

    schedule: Schedule
    subscriptions: Subscriptions
    dispatcher: Dispatcher


def build_webhooks(
    settings: Settings,
    *,
    database: Database,
    sealer: Sealer,
    wakeups: Wakeups,
    metrics: Metrics,
    traces: Traces,
    max_sockets: int,
    now: Now,
) -> Webhooks:
    """``max_sockets``: connections to receivers at once."""
    targets = Targets(
        allow_http=settings.webhook_allow_http,
        allowed=read_networks(settings.webhook_allowed_networks),
    )
    schedule = Schedule(
        timeout=settings.webhook_timeout,
        first_retry=settings.webhook_first_retry,
        longest_retry=settings.webhook_longest_retry,
        give_up_after=settings.webhook_give_up_after,
        concurrency=settings.webhook_concurrency,
    )
    subscriptions = Subscriptions(
        store=WebhookStore(database, sealer),
        deliveries=WebhookDeliveryStore(database),
        targets=targets,
        on_change=partial(wakeups.announce, WEBHOOKS),
        now=now,
    )
    dispatcher = Dispatcher(
        outbox=OutboxStore(database, sealer),
        schedule=schedule,
        targets=targets,
        metrics=metrics,
        tracer=traces.tracer,
        keep_for=settings.webhook_keep_for,
        max_sockets=max_sockets,
        now=now,
    )
    return Webhooks(schedule, subscriptions, dispatcher)
