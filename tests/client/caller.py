"""An app that uses both clients. mypy checks it here, and again against the installed client.

Each ``type: ignore`` is a mistake that the types must find: mypy --strict complains where one is
not needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, assert_type

from iovox_receipts import (
    AsyncClient,
    Client,
    Delivery,
    Event,
    Found,
    Message,
    Outcome,
    Page,
    Sent,
    Unreachable,
    Webhook,
    verify_webhook,
)

SINCE = datetime(2026, 11, 22, tzinfo=UTC)
TEXT = {"origin": "447923221231", "destination": "447723443321", "message": "Hello"}


def blocking() -> None:
    with Client("https://sms.example.com", "key", patience=10) as client:
        sent = client.send("447923221231", "447723443321", "Hello", expiry=3, send_at=SINCE)
        assert_type(sent, Sent)
        assert_type(client.send_batch([TEXT], patience=60), list[Outcome])
        assert_type(client.resend(sent.id), Sent)
        assert_type(client.status(sent.id), Message)
        assert_type(client.wait_final(sent.id, timeout=120), Message)
        assert_type(client.watch(sent.id), Iterator[Message])
        assert_type(client.list(status=["FAILED", "EXPIRED"], from_=SINCE, limit=10), Page)
        assert_type(client.all(destination="+44 7723 443321", final=True), Iterator[Message])
        assert_type(client.lookup([sent.id]), Found)
        assert_type(client.stats(by="day", to=SINCE), dict[str, Any])
        assert_type(client.events("e1", follow=False), Iterator[Event])
        assert_type(client.stream(reference="order-42"), Iterator[Event])
        webhook = client.webhooks.create("https://billing.example.com/events", statuses=["FAILED"])
        assert_type(webhook, Webhook)
        assert_type(client.webhooks.list(), tuple[Webhook, ...])
        assert_type(client.webhooks.deliveries(webhook.id), Iterator[Delivery])
        assert_type(client.webhooks.replay_many(webhook.id, from_=SINCE), int)
        client.cancel(sent.id)

        client.list(destinatoin="447723443321")  # type: ignore[call-arg]
        client.all(statsu="FAILED")  # type: ignore[call-arg]
        client.list(from_="2026-11-22")  # type: ignore[arg-type]
        client.stats(by="week")  # type: ignore[arg-type]
        client.stream(referense="order-42")  # type: ignore[call-arg]
        client.send("447923221231", "447723443321")  # type: ignore[call-arg]


async def asynchronous() -> None:
    async with AsyncClient("https://sms.example.com", "key") as client:
        try:
            sent = await client.send("447923221231", "447723443321", "Hello", patience=5)
        except Unreachable as error:
            assert_type(error.idempotency_key, str | None)
            raise
        assert_type(sent, Sent)
        assert_type(await client.send_batch([TEXT]), list[Outcome])
        assert_type(await client.status(sent.id), Message)
        assert_type(await client.wait_final(sent.id), Message)
        assert_type(client.watch(sent.id), AsyncIterator[Message])
        assert_type(await client.list(overdue=True, app=None), Page)
        assert_type(client.all(reference="order-42"), AsyncIterator[Message])
        assert_type(await client.lookup([sent.id]), Found)
        assert_type(await client.stats(), dict[str, Any])
        assert_type(client.events(), AsyncIterator[Event])
        assert_type(client.stream(status="FAILED"), AsyncIterator[Event])
        assert_type(await client.webhooks.rotate("w1"), Webhook)
        assert_type(client.webhooks.deliveries("w1", state="FAILED"), AsyncIterator[Delivery])
        async for event in client.events(after="e1"):
            assert_type(event, Event)

        await client.list(destinatoin="447723443321")  # type: ignore[call-arg]
        client.all(final="yes")  # type: ignore[arg-type]
        await client.stats(form_=SINCE)  # type: ignore[call-arg]


def webhook(body: bytes, headers: dict[str, str]) -> None:
    assert_type(verify_webhook(body, headers, "whsec_…"), dict[str, Any])
