"""Receivers of one app that hang, or have dead names, do not slow another app's webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from statistics import median

import pytest
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import AsyncResolver

from app.model.audit import Actor
from app.ops.metrics import Metrics
from app.parts.networks import read_networks
from app.store.engine import Database
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.outbox.store import OutboxStore
from app.store.webhooks import WebhookStore
from app.webhooks.dispatcher import Dispatcher
from app.webhooks.requests import NewWebhook
from app.webhooks.schedule import Schedule
from app.webhooks.subscriptions import MAX_WEBHOOKS, RESOLVE_TIMEOUT, Subscriptions
from app.webhooks.targets import Targets
from tests.support.long import POSTGRESQL, cases, on

from .name_servers import Silent, silent_name_server
from .receiver import Answer, Receiver, always, receiving
from .world import Writer

TIMEOUT = 3.0
SLOW = 2.7
"""Seconds after which the receiver answers that is only just in time."""
MEASURED = 5.0
"""Seconds: the first attempts, their time-outs, and what follows on those."""
SLOWER = 0.5
"""Seconds that the other app's median call may take longer than alone."""


class Delivering(Writer):
    """A dispatcher over a database, with resolvers of the test's."""

    def __init__(self, database: Database, resolver: AbstractResolver) -> None:
        targets = Targets(allow_http=True, allowed=read_networks("127.0.0.0/8"), resolver=resolver)
        self.dispatcher = Dispatcher(
            outbox=OutboxStore(database),
            schedule=Schedule(timeout=TIMEOUT),
            targets=targets,
            metrics=Metrics(),
            keep_for=3_600,
            max_sockets=10_000,
        )
        super().__init__(database, announce=self.dispatcher.wake_for_events)
        self._subscriptions = Subscriptions(
            store=WebhookStore(database),
            deliveries=WebhookDeliveryStore(database),
            targets=targets,
            on_change=self.dispatcher.wake,
        )

    async def subscribe(self, app: str, *urls: str) -> None:
        await asyncio.gather(
            *(
                self._subscriptions.create(
                    NewWebhook(url=url), sees=app, key_id="a key", actor=Actor("key:a")
                )
                for url in urls
            )
        )


@asynccontextmanager
async def delivering(database_url: str, resolver: AbstractResolver) -> AsyncIterator[Delivering]:
    database = Database(database_url)
    started = Delivering(database, resolver)
    tasks = [
        asyncio.create_task(work())
        for work in (started.dispatcher.run, started.dispatcher.renew_leases)
    ]
    try:
        yield started
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await started.dispatcher.close()
        await database.close()


async def latencies(writer: Delivering, receiver: Receiver, *, seconds: float) -> list[float]:
    """Seconds from each event of the app's to its call, of those made meanwhile."""
    clock = asyncio.get_running_loop().time
    took, end = [], clock() + seconds
    while clock() < end:
        (message,) = await writer.messages(1, app="quiet")
        began, seen = clock(), len(receiver.calls)
        await writer.reject(message)
        await receiver.until_called(seen + 1, patience=60)
        took.append(receiver.calls[-1].came_at - began)
        await asyncio.sleep(0.05)
    return took


@pytest.fixture(params=cases("a real name server", "a resolver in its place"))
async def resolver(request: pytest.FixtureRequest) -> AsyncIterator[AbstractResolver]:
    if request.param == "a resolver in its place":
        yield Silent()
        return
    async with silent_name_server() as address:
        yield AsyncResolver(nameservers=[address])


@on(POSTGRESQL)
async def test_dead_names_of_one_app_do_not_slow_anothers(
    database_url: str, resolver: AbstractResolver
) -> None:
    """100 webhooks: 99 have names that never resolve, and one is answered just in time."""
    clock = asyncio.get_running_loop().time
    async with (
        delivering(database_url, resolver) as writer,
        receiving() as receiver,
        receiving(always(Answer(delay=SLOW))) as slow,
    ):
        await writer.subscribe("quiet", receiver.url.replace("127.0.0.1", "live.test"))
        alone = await latencies(writer, receiver, seconds=1)
        began = clock()
        dead = [f"http://dead{number}.test/" for number in range(MAX_WEBHOOKS - 1)]
        await writer.subscribe("noisy", slow.url.replace("127.0.0.1", "live.test"), *dead)
        assert clock() - began < RESOLVE_TIMEOUT + 5, "names were looked up one after the other"
        await writer.reject(*await writer.messages(20, app="noisy"))
        await slow.until_called(1)
        beside = await latencies(writer, receiver, seconds=MEASURED)
        assert median(beside) < median(alone) + SLOWER
        # Whoever waits for a dead name, or for a place behind one, waits for a whole time-out. A
        # busy machine delays single calls too, but by less.
        assert max(beside) < TIMEOUT
        # Nor is a name slow that nobody has looked up before.
        async with receiving() as another:
            await writer.subscribe("quiet", another.url.replace("127.0.0.1", "live.second.test"))
            await writer.reject(*await writer.messages(1, app="quiet"))
            await another.until_called(1, patience=TIMEOUT)
