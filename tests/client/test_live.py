"""The client against the real service, through a network that fails."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any, ClassVar
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from iovox_receipts import (
    BadSignature,
    Client,
    Conflict,
    Event,
    Invalid,
    NotAllowed,
    NotFound,
    Rejected,
    verify_webhook,
)
from tests.cli.running import Running, make_key, running
from tests.client.both import Make
from tests.support.processes import wait_until
from tests.support.proxy import Mode, TcpProxy

ORIGIN = "447923221231"
DELIVERED, FAILED, SILENT = "447700900100", "447700900101", "447700900105"
WEBHOOKS_AT_HOME = {
    "DLR_WEBHOOK_ALLOW_HTTP": "true",
    "DLR_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
}
STEPS = ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(f"sqlite:///{folder / 'dlr.db'}", folder, env=WEBHOOKS_AT_HOME) as found:
        yield found


@pytest.fixture
def client(service: Running, make: Make) -> Client:
    return make(service.url, service.key)


@pytest_asyncio.fixture
async def proxy(service: Running) -> AsyncIterator[TcpProxy]:
    parts = urlsplit(service.url)
    async with TcpProxy(parts.hostname or "", parts.port or 0) as made:
        yield made


@pytest.fixture
def distant(service: Running, proxy: TcpProxy, make: Make) -> Make:
    """Makes clients behind the proxy."""
    return partial(make, f"http://{proxy.host}:{proxy.port}", service.key)


def accepted(service: Running) -> int:
    url = f"{service.simulator}/_simulator/counts?brief=1"
    return int(httpx.get(url, trust_env=False).json()["accepted"])


async def test_a_lost_answer_does_not_make_a_second_text(
    service: Running, proxy: TcpProxy, distant: Make
) -> None:
    before = accepted(service)
    await proxy.switch(Mode.CUT_ANSWERS)
    sending = asyncio.create_task(asyncio.to_thread(distant().send, ORIGIN, SILENT, "Hello"))
    arrived = lambda: accepted(service) > before  # noqa: E731
    assert await asyncio.to_thread(wait_until, arrived, timeout=30)
    await asyncio.sleep(0.3)  # time for more tries, and for more texts if there were any
    await proxy.switch(Mode.PASS)
    async with asyncio.timeout(30):
        sent = await sending
    assert (sent.status, sent.replayed) == ("SUBMITTED", True)
    assert accepted(service) == before + 1


async def test_a_service_that_is_away_for_a_while_is_waited_for(
    service: Running, proxy: TcpProxy, distant: Make
) -> None:
    await proxy.switch(Mode.REFUSE)
    sending = asyncio.create_task(asyncio.to_thread(distant().send, ORIGIN, SILENT, "Hello"))
    await asyncio.sleep(0.5)
    assert not sending.done()
    await proxy.switch(Mode.PASS)
    async with asyncio.timeout(30):
        assert (await sending).status == "SUBMITTED"


async def test_the_feed_and_the_stream_go_on_after_an_outage(
    service: Running, proxy: TcpProxy, distant: Make
) -> None:
    near = Client(service.url, service.key)
    *_, newest = (None, *near.events(follow=False))
    after = newest.id if newest else None
    feed, stream = distant().events(after), distant().stream(after=after, reference="outage")
    for outage in (Mode.RESET, Mode.PASS):
        sent = near.send(ORIGIN, DELIVERED, "Hello", reference="outage")
        reading = [asyncio.create_task(asyncio.to_thread(take, one, 3)) for one in (feed, stream)]
        await asyncio.sleep(0.2)
        await proxy.cut()
        await proxy.switch(outage)
        await asyncio.sleep(0.2)
        await proxy.switch(Mode.PASS)
        async with asyncio.timeout(60):
            for found in await asyncio.gather(*reading):
                assert [(one.message_id, one.status) for one in found] == [
                    (sent.id, step) for step in STEPS
                ]
    near.close()


def take(events: Iterator[Event], count: int) -> list[Event]:
    return list(islice(events, count))


def test_waiting_ends_with_the_final_status(client: Client) -> None:
    sent = client.send(ORIGIN, FAILED, "Ünïcode & <emoji> 😀", expiry=3, reference="order-42")
    message = client.wait_final(sent.id, timeout=30)
    assert (message.status, message.final, message.text) == ("FAILED", True, "Ünïcode & <emoji> 😀")
    assert [entry.status for entry in message.history] == ["SUBMITTED", "ACKNOWLEDGED", "FAILED"]
    assert client.status(sent.sms_activity_id or "").id == sent.id


def test_many_at_once(client: Client) -> None:
    many = f"many {uuid4()}"
    texts = [
        {"origin": ORIGIN, "destination": SILENT, "message": f"Hello {n}", "reference": many}
        for n in range(3)
    ]
    outcomes = client.send_batch([*texts, {"origin": ORIGIN}])
    assert [one["status"] for one in outcomes] == [*["QUEUED"] * 3, "REJECTED"]
    ids = [one["id"] or "" for one in outcomes[:3]]
    found = client.lookup([*ids, "nobody's"])
    assert ({m.id for m in found.messages}, found.not_found) == (set(ids), ("nobody's",))
    assert [m.id for m in client.all(reference=many)] == ids[::-1]
    page = client.list(reference=many, limit=2, from_=datetime.now(UTC) - timedelta(hours=1))
    assert [m.id for m in page.messages] == ids[:0:-1]
    assert page.next is not None
    assert client.stats(by="origin")["messages"] >= 3


def test_a_scheduled_text_is_taken_back_once_and_for_all(client: Client) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    sent = client.send(ORIGIN, SILENT, "Hello", send_at=later)
    assert sent.status == "QUEUED"
    client.cancel(sent.id)
    client.cancel(sent.id)
    assert client.status(sent.id).status == "CANCELLED"
    again = client.resend(sent.id)
    assert client.status(again.id).resend_of == sent.id
    with pytest.raises(Conflict):
        client.cancel(again.id)


def test_errors_are_typed(service: Running, client: Client, make: Make) -> None:
    with pytest.raises(Rejected) as refused:
        client.send(ORIGIN, "447700900111", "Hello")
    assert client.status(refused.value.message_id).status == "REJECTED"
    with pytest.raises(Invalid) as invalid:
        client.send("", "12", "x" * 161)
    assert [fault.field for fault in invalid.value.errors] == ["origin", "destination", "message"]
    with pytest.raises(NotFound):
        client.status("nobody's")
    with pytest.raises(Invalid) as wrong:
        client.list(status="LOST")
    assert [fault.field for fault in wrong.value.errors] == ["status"]
    reader = make(service.url, make_key(service.settings, "reader", "read"))
    with pytest.raises(NotAllowed):
        reader.send(ORIGIN, SILENT, "Hello")


def test_webhooks(client: Client) -> None:
    made = client.webhooks.create("https://billing.example.com/events", statuses=["FAILED"])
    assert (made.secret or "").startswith("whsec_")
    assert client.webhooks.get(made.id).secret is None
    assert client.webhooks.change(made.id, paused=True).state == "PAUSED"
    assert client.webhooks.rotate(made.id).secret != made.secret
    assert [one.id for one in client.webhooks.list()] == [made.id]
    assert list(client.webhooks.deliveries(made.id)) == []
    client.webhooks.delete(made.id)
    with pytest.raises(NotFound):
        client.webhooks.get(made.id)


class Receiver(BaseHTTPRequestHandler):
    """An app's webhook receiver, as its documentation has it."""

    secret = ""
    believed: ClassVar[list[dict[str, Any]]] = []
    doubted: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.believed.append(verify_webhook(body, dict(self.headers), self.secret))
        except BadSignature:
            self.doubted.append(body)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/events"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_webhooks_that_come_are_believed(client: Client, receiver: str) -> None:
    made = client.webhooks.create(receiver)
    Receiver.secret = made.secret or ""
    Receiver.believed.clear()
    client.webhooks.test(made.id)
    sent = client.send(ORIGIN, DELIVERED, "Hello", reference="Ünïcode 😀")
    client.wait_final(sent.id, timeout=30)
    assert wait_until(lambda: len(Receiver.believed) >= 2, timeout=30)
    client.webhooks.delete(made.id)
    assert Receiver.doubted == []
    assert [one["type"] for one in Receiver.believed] == ["webhook.test", "message.delivered"]
    told = Receiver.believed[1]["data"]
    assert (told["message_id"], told["reference"]) == (sent.id, "Ünïcode 😀")
