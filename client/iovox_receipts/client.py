"""The blocking client: the methods of ``AsyncClient``, one by one."""

from __future__ import annotations

import asyncio
from typing import Self

import httpx

from iovox_receipts.async_client import PATIENCE, AsyncClient
from iovox_receipts.blocking import Blocking, LoopThread, blocking, iterating
from iovox_receipts.calls import Sleep
from iovox_receipts.evidence import AsyncEvidence
from iovox_receipts.record import AsyncRecord
from iovox_receipts.subscriptions import AsyncWebhooks


class Webhooks(Blocking[AsyncWebhooks]):
    """``client.webhooks``: see AsyncWebhooks for what each method does."""

    create = blocking(AsyncWebhooks.create)
    list = blocking(AsyncWebhooks.list)
    get = blocking(AsyncWebhooks.get)
    change = blocking(AsyncWebhooks.change)
    delete = blocking(AsyncWebhooks.delete)
    rotate = blocking(AsyncWebhooks.rotate)
    test = blocking(AsyncWebhooks.test)
    delivery = blocking(AsyncWebhooks.delivery)
    deliveries = iterating(AsyncWebhooks.deliveries)
    replay = blocking(AsyncWebhooks.replay)
    replay_many = blocking(AsyncWebhooks.replay_many)


class Record(Blocking[AsyncRecord]):
    """``client.record``: see AsyncRecord for what each method does."""

    audit = iterating(AsyncRecord.audit)
    erase = blocking(AsyncRecord.erase)
    erasure = blocking(AsyncRecord.erasure)


class Evidence(Blocking[AsyncEvidence]):
    """``client.evidence``: see AsyncEvidence for what each method does."""

    document = blocking(AsyncEvidence.document)
    checkpoint = blocking(AsyncEvidence.checkpoint)


class Client(Blocking[AsyncClient]):
    """A connection to the service with one API key. Safe to share between threads.

    The parameters are those of AsyncClient, and so are the methods, which say there what they do.
    Close it, or use it in ``with``. In a process that forks, make it in the child, or use it there
    first.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float = PATIENCE,
        connect_timeout: float | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Raises ValueError for a URL or a key that cannot be one; connects to nothing yet."""
        target = AsyncClient(
            url,
            key,
            patience=patience,
            connect_timeout=connect_timeout,
            transport=transport,
            sleep=sleep,
        )
        super().__init__(target, LoopThread(closing=target.close))
        self.webhooks = Webhooks(target.webhooks, self._thread)
        self.record = Record(target.record, self._thread)
        self.evidence = Evidence(target.evidence, self._thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. Calls of other threads are cancelled."""
        self._thread.close()

    send = blocking(AsyncClient.send)
    send_batch = blocking(AsyncClient.send_batch)
    resend = blocking(AsyncClient.resend)
    cancel = blocking(AsyncClient.cancel)
    status = blocking(AsyncClient.status)
    wait_final = blocking(AsyncClient.wait_final)
    watch = iterating(AsyncClient.watch)
    list = blocking(AsyncClient.list)
    all = iterating(AsyncClient.all)
    lookup = blocking(AsyncClient.lookup)
    stats = blocking(AsyncClient.stats)
    alarms = blocking(AsyncClient.alarms)
    events = iterating(AsyncClient.events)
    stream = iterating(AsyncClient.stream)
