"""Every metric moves when that happens which it counts."""

from __future__ import annotations

import asyncio
import fcntl
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from app.model.receipt import Arrival
from app.ops.metrics import Metrics
from app.store.clock import utc_now
from app.store.ids import new_id
from tests.events.receiver import Answer, always, receiving
from tests.ops.scraping import Meter, names, post_receipt, receipt, scrape
from tests.send.world import ACCEPTED, LOST, REFUSED, UNAUTHORIZED, Service, World, to, until
from tests.support.ports import free_port

QUICK: dict[str, Any] = {
    "ops_interval": 0.1,
    "webhook_allow_http": True,
    "webhook_allowed_networks": "127.0.0.0/8",
}
NOT_MOVED_HERE = {
    "dlr_alarm",  # tests/ops/test_alarms.py
    "dlr_build_info",
    "dlr_spool_free_bytes",
    "dlr_evidence_lag_seconds",
    "dlr_evidence_size",
}


async def test_what_is_received_and_refused(sqlite_world: World) -> None:
    service = await sqlite_world.service(body_timeout=0.2, **QUICK)
    client = service.client
    meter = await Meter(client).start()
    for status in ("ACKNOWLEDGED", "BUFFERED", "FAILED", "EXPIRED", "DELIVERED", "other"):
        assert await post_receipt(client, receipt(f"of-{status}", status)) == 200
        await meter.moves(
            f"dlr_receipts_total{{status={status}}}",
            "dlr_receipts_stored_total",
            "dlr_receipt_seconds_count",
            "dlr_receipt_lag_seconds_count",
            "dlr_last_receipt_timestamp_seconds",
            "dlr_http_requests_total{code=200,method=POST,route=/dlr}",
        )
    await meter.moves("dlr_unmatched_ids", to=6)
    for reason, body, secret in (
        ("secret", receipt("x"), "wrong"),
        ("unreadable", "no JSON", None),
        ("invalid", '{"status": "DELIVERED"}', None),
        ("too-large", "x" * 70_000, None),
    ):
        await post_receipt(client, body, *([secret] if secret else []))
        await meter.moves(f"dlr_receipts_refused_total{{reason={reason}}}")
    await meter.start()
    await post_receipt(client, "no JSON")
    await meter.moves("dlr_receipts_rejected_total")
    await client.get("/dlr", headers={"X-Secret": "a-secret-of-the-tests"})
    await meter.moves("dlr_receipts_refused_total{reason=method}")
    await slow_body(service)
    await meter.moves("dlr_receipts_refused_total{reason=too-slow}")
    await service.runtime.inbox.close()
    assert await post_receipt(client, receipt("none-takes-it")) == 503
    await meter.moves(
        "dlr_receipts_refused_total{reason=unavailable}",
        "dlr_http_requests_total{code=503,method=POST,route=/dlr}",
    )


async def slow_body(service: Service) -> None:
    url = service.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    head = "POST /dlr HTTP/1.1\r\nHost: x\r\nX-Secret: a-secret-of-the-tests\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\nno more".encode())
    assert b" 408 " in await reader.readline()
    writer.close()


async def test_the_spool_and_the_database(sqlite_world: World) -> None:
    service = await sqlite_world.service(**QUICK)
    runtime, client = service.runtime, service.client
    meter = await Meter(client).start()
    assert meter.last["dlr_spool_free_bytes"] > 0
    runtime.watch.report_down("a test says so")
    await meter.moves("dlr_database_up", to=0)
    assert await post_receipt(client, receipt("spooled")) == 200
    await meter.moves("dlr_receipts_spooled_total", "dlr_receipts_drained_total")
    await meter.moves("dlr_database_up", to=1)
    with (runtime.settings.spool_dir / "drain.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = utc_now() - timedelta(seconds=50)
        await runtime.spool.append([Arrival(new_id(), old, receipt("late").encode())])
        await meter.moves("dlr_spool_depth", "dlr_spool_oldest_seconds")
        assert meter.last["dlr_spool_oldest_seconds"] >= 50
    await meter.moves("dlr_spool_depth", "dlr_spool_oldest_seconds", to=0)
    async with runtime.database.read():
        await meter.moves("dlr_database_pool_in_use")
    ahead = time.monotonic()
    runtime.clock.measured(utc_now() - timedelta(seconds=9), asked=ahead, received=ahead)
    await meter.moves("dlr_clock_offset_seconds")


async def test_what_is_sent(world: World) -> None:
    iovox = await world.iovox(receipts=False)
    service = await world.service(iovox, overdue_after=0.5, **QUICK)
    meter = await Meter(service.client).start()
    await service.send()
    await meter.moves("dlr_messages{status=overdue}", "dlr_last_submission_timestamp_seconds")
    for ending, outcome in (
        (ACCEPTED, "submitted"),
        (REFUSED, "refused-by-iovox"),
        (UNAUTHORIZED, "not-sent"),
    ):
        await service.send(to(ending))
        await meter.moves(
            f"dlr_sends_total{{outcome={outcome}}}",
            f"dlr_iovox_request_seconds_count{{outcome={outcome}}}",
        )
    await meter.start()
    await service.send(to(UNAUTHORIZED))
    await meter.moves("dlr_iovox_credentials_refused_total")
    lost = asyncio.create_task(service.send(to(LOST)))
    await meter.moves("dlr_messages{status=SENDING}", to=1)
    await lost
    await meter.moves(
        "dlr_sends_total{outcome=outcome-unknown}",
        "dlr_iovox_request_seconds_count{outcome=outcome-unknown}",
        "dlr_messages{status=UNCONFIRMED}",
    )
    for _ in range(5):
        service.runtime.breaker.record_unknown(uuid4())
    await meter.moves("dlr_circuit_open")
    for _ in range(3):
        assert (await service.send()).status_code == 202
    await meter.moves("dlr_queue_depth", "dlr_queue_oldest_seconds")


async def test_webhooks_streams_and_requests(sqlite_world: World) -> None:
    iovox = await sqlite_world.iovox()
    service = await sqlite_world.service(iovox, webhook_give_up_after=0.5, **QUICK)
    admin = await service.key("ops", "admin")
    meter = await Meter(service.client).start()
    await service.send()
    await meter.moves(
        "dlr_http_requests_total{code=201,method=POST,route=/v1/messages}",
        "dlr_http_request_seconds_count{route=/v1/messages}",
    )
    async with receiving() as good:
        made = await service.client.post("/v1/webhooks", json={"url": good.url}, headers=admin)
        assert made.status_code == 201, made.text
        await meter.moves("dlr_http_requests_total{code=201,method=POST,route=/v1/webhooks}")
        await service.send()
        await meter.moves("dlr_webhook_attempts_total{outcome=taken}")
    async with receiving(always(Answer(status=500))) as bad:
        await service.client.post("/v1/webhooks", json={"url": bad.url}, headers=admin)
        await service.send()
        await meter.moves(
            "dlr_webhook_attempts_total{outcome=failed}",
            "dlr_webhook_backlog",
            "dlr_webhooks_paused",
        )
    async with service.client.stream("GET", "/v1/events/stream"):
        await meter.moves("dlr_streams_open")


async def test_every_series_is_there_from_the_start(sqlite_world: World) -> None:
    service = await sqlite_world.service()
    assert (await service.client.get("/v1/messages/none")).status_code == 404
    text = (await service.client.get("/metrics")).text
    found = await scrape(service.client)
    assert names(Metrics().render().decode()) <= names(text)
    for name in ("secret", "unreadable", "invalid", "too-large", "too-slow", "unavailable"):
        assert found[f"dlr_receipts_refused_total{{reason={name}}}"] == 0
    assert found["dlr_http_requests_total{code=422,method=POST,route=/v1/messages}"] == 0
    assert found["dlr_http_request_seconds_count{route=/v1/messages/{id}}"] == 1
    assert found["dlr_alarm{alarm=silence}"] == 0
    assert found["process_open_fds"] > 0


def test_no_metric_is_forgotten_here() -> None:
    """The tests above name each one."""
    text = Path(__file__).read_text()
    made = {name for name in names(Metrics().render().decode()) if name.startswith("dlr_")}
    assert {name for name in made if f'"{name}' not in text} - NOT_MOVED_HERE == set()


async def test_paths_that_are_none_make_no_series(sqlite_world: World) -> None:
    service = await sqlite_world.service()
    before = await scrape(service.client)
    for number in range(5):
        await service.client.get(f"/nowhere/{number}")
        await service.client.request(f"VERB{number}", "/healthz")
    after = await scrape(service.client)
    new = set(after) - set(before)
    assert {name for name in new if "nowhere" in name or "VERB" in name} == set()
    assert after["dlr_http_requests_total{code=404,method=GET,route=other}"] == 5


async def test_the_second_port_answers_the_same_and_nothing_else(sqlite_world: World) -> None:
    port = free_port()
    service = await sqlite_world.service(ops_port=port)
    there = f"http://127.0.0.1:{port}"

    async def listens() -> bool:
        try:
            return (await service.client.get(f"{there}/readyz")).status_code == 200
        except OSError:
            return False

    await until(listens, "the second port")
    assert "dlr_build_info" in (await service.client.get(f"{there}/metrics")).text
    assert (await service.client.get(f"{there}/v1/messages")).status_code == 404
