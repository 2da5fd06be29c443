"""Traces, as a collector gets them: who called whom for how long, and nothing that is private."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.cli.here import dlr
from tests.events.receiver import receiving
from tests.iovox.scripted import ACTIVITY_ID, scripted
from tests.ops.collector import Collector, Told, collecting
from tests.receive.serving import environment
from tests.send.world import HELLO, SECRET, Service, World, until
from tests.support.ports import free_port
from tests.support.process import clean_environment, run_dlr

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
NOTHING = "0" * 16


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms
    monkeypatch.setenv("NO_PROXY", "*")
    with collecting() as one:
        yield one


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(sqlite_url, stack)


async def spans_of(collector: Collector, name: str) -> list[Told]:
    """Those of this name, when one has come."""

    async def came() -> bool:
        return bool(collector.named(name))

    await until(came, f"a span {name}")
    return collector.named(name)


async def span_of(collector: Collector, name: str) -> Told:
    (span,) = await spans_of(collector, name)
    return span


async def traced(world: World, collector: Collector, iovox: str | None = None) -> Service:
    return await world.service(
        iovox,
        otlp_endpoint=collector.url,
        webhook_allow_http=True,
        webhook_allowed_networks="127.0.0.0/8",
    )


async def test_a_send_is_one_trace_from_its_caller_on(world: World, collector: Collector) -> None:
    async with scripted() as iovox:
        service = await traced(world, collector, iovox.url)
        sent = await service.send(traceparent=TRACEPARENT, X_Request_Id="ask-1")
        assert sent.status_code == 201, sent.text
        assert sent.headers["traceparent"] == TRACEPARENT
        request = await span_of(collector, "POST /v1/messages")
        submit = await span_of(collector, "submit")
    assert (request.kind, request.trace_id, request.parent_id) == ("server", TRACE, CALLER)
    assert request.said == {
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "http.response.status_code": 201,
        "network.protocol.version": "1.1",
        "url.scheme": "http",
        "request_id": "ask-1",
        "message_id": sent.json()["id"],
    }
    assert (submit.kind, submit.trace_id, submit.parent_id) == ("client", TRACE, request.span_id)
    assert submit.said == {
        "message_id": sent.json()["id"],
        "sms_activity_id": ACTIVITY_ID,
        "status": "SUBMITTED",
    }
    assert 0 < submit.seconds < request.seconds < 30
    (head,) = iovox.heads
    assert "traceparent" not in head.lower(), "iovox has no part in it"
    (resource, *_) = collector.resources
    assert resource["service.name"] == "iovox-receipts"
    assert collector.paths == {"/v1/traces"}


async def test_what_is_queued_has_a_trace_of_its_own_that_failed(
    world: World, collector: Collector
) -> None:
    service = await traced(world, collector)  # no iovox there
    sent = await service.send(Prefer="respond-async")
    submit = (await spans_of(collector, "submit"))[0]  # it is tried again
    assert submit.parent_id in ("", NOTHING)
    assert submit.failed
    assert submit.said == {"message_id": sent.json()["id"], "status": "QUEUED"}


async def test_a_receipt_names_its_message_and_goes_on_with_the_proxys_trace(
    world: World, collector: Collector
) -> None:
    service = await traced(world, collector)
    message_id = "01900000-0000-7000-8000-000000000001"
    body = json.dumps({"sms_activity_id": "an-id", "status": "DELIVERED"})
    headers = {
        "X-Secret": SECRET,
        "X-Message-Id": message_id,
        "X-Request-Id": "receipt-1",
        "traceparent": TRACEPARENT,
    }
    assert (await service.client.post("/dlr", content=body, headers=headers)).status_code == 200
    span = await span_of(collector, "POST /dlr")
    assert (span.kind, span.trace_id, span.parent_id) == ("server", TRACE, CALLER)
    assert span.said == {
        "http.request.method": "POST",
        "http.route": "/dlr",
        "http.response.status_code": 200,
        "request_id": "receipt-1",
        "message_id": message_id,
        "sms_activity_id": "an-id",
        "status": "DELIVERED",
    }
    assert 0 < span.seconds < 30


async def test_a_webhook_is_called_with_its_span(world: World, collector: Collector) -> None:
    async with receiving() as receiver, scripted() as iovox:
        service = await traced(world, collector, iovox.url)
        admin = await service.key("ops", "admin")
        asked = {"url": receiver.url, "statuses": ["SUBMITTED"]}
        made = await service.client.post("/v1/webhooks", json=asked, headers=admin)
        assert made.status_code == 201, made.text
        sent = await service.send()
        (call,) = await receiver.until(1)
        span = await span_of(collector, "deliver")
    assert call.headers["traceparent"][:53] == f"00-{span.trace_id}-{span.span_id}-"
    assert "tracestate" not in call.headers
    assert span.said == {
        "webhook_id": made.json()["id"],
        "delivery_id": call.id,
        "message_id": sent.json()["id"],
        "type": "message.submitted",
        "http.response.status_code": 200,
    }
    assert not span.failed


async def test_nothing_private_is_told(world: World, collector: Collector) -> None:
    """Texts, numbers and secrets of every kind that a caller can put somewhere."""
    number, text, secret = "447700900742", "the text of it", "a-key-in-a-query"
    wanted = {
        "POST /v1/messages",
        "GET /v1/messages",
        "GET /v1/messages/{id}",
        "GET",
        "HTTP /v1/messages",
        "submit",
        "POST /dlr",
    }
    async with scripted() as iovox:
        service = await traced(world, collector, iovox.url)
        client = service.client
        body = {**HELLO, "destination": f"+{number}", "message": text, "reference": text}
        assert (await service.post("/v1/messages", body)).status_code == 201
        assert (await service.post("/v1/messages", {**body, "expiry": text})).status_code == 422
        await client.get("/v1/messages", params={"destination": number, "key": secret})
        await client.get(f"/v1/messages/{number}", headers={"Host": f"{number}.example.com"})
        await client.get(f"/{number}?{secret}", headers={"User-Agent": number})
        await client.get("/healthz", headers={"baggage": f"number={number}"})
        await client.request("REPORT", "/v1/messages", headers={"Referer": number})
        receipt = json.dumps(
            {"sms_activity_id": "x", "status": text, "delivery_status": number, "more": secret}
        )
        headers = {"X-Secret": SECRET, "traceparent": TRACEPARENT, "tracestate": f"x={number}"}
        assert (await client.post("/dlr", content=receipt, headers=headers)).status_code == 200

        async def all_came() -> bool:
            return bool(collector.named("POST /dlr")) and len(collector.spans) >= 8

        await until(all_came, "the spans")
    assert {span.name for span in collector.spans} == wanted
    told = b"".join(collector.bodies)
    for private in (number, number[2:], text, secret, SECRET, "a-key", "healthz"):
        assert private.encode() not in told, private


async def test_log_lines_have_the_trace_that_the_collector_has(
    world: World, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    async with scripted() as iovox:
        service = await traced(world, collector, iovox.url)
        assert (await service.send()).status_code == 201
        request = await span_of(collector, "POST /v1/messages")
    said = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line[:1] == "{"]
    traces = {line["event"]: line.get("trace_id") for line in said}
    assert (traces["recorded"], traces["submitted"]) == (request.trace_id, request.trace_id)


async def test_a_collector_that_takes_nothing_harms_nobody(
    sqlite_url: str, collector: Collector, capfd: pytest.CaptureFixture[str]
) -> None:
    collector.status = 400
    async with AsyncExitStack() as stack:
        service = await traced(World(sqlite_url, stack), collector)
        for _ in range(3):
            assert (await service.client.get("/v1/messages")).status_code == 200
            await asyncio.sleep(0.1)

        async def was_asked() -> bool:
            return bool(collector.paths)

        await until(was_asked, "the collector to be asked")
        collector.status = 200
        await service.client.get("/v1/messages")
        await span_of(collector, "GET /v1/messages")
    said = capfd.readouterr()
    assert (said.out + said.err).count("traces_not_taken") == 1
    assert (said.out + said.err).count("traces_taken") == 1


async def test_a_stop_does_not_wait_for_a_collector_that_is_gone(
    sqlite_url: str, collector: Collector
) -> None:
    async with AsyncExitStack() as stack:
        gone = Collector(url=f"http://127.0.0.1:{free_port()}")
        service = await traced(World(sqlite_url, stack), gone)
        assert (await service.client.get("/v1/messages")).status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 6


async def test_opentelemetrys_own_variables_choose_what_is_traced(
    world: World, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "texts")
    service = await traced(world, collector)
    await service.client.get("/v1/messages")
    await service.client.get("/v1/messages", headers={"traceparent": TRACEPARENT})
    span = await span_of(collector, "GET /v1/messages")
    assert span.trace_id == TRACE
    assert collector.resources[0]["service.name"] == "texts"


def test_without_an_endpoint_nothing_of_the_extra_is_loaded(tmp_path: Path) -> None:
    """Not even where OpenTelemetry's own variables name one: FastAPI would tell it queries."""
    program = """
import asyncio, sys
from app.main import from_environment
app = from_environment()
async def main():
    async with app.router.lifespan_context(app):
        pass
asyncio.run(main())
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exp"))])
print(app._native_telemetry.enabled())
"""
    settings = environment(f"sqlite:///{tmp_path}/dlr.db", DLR_SPOOL_DIR=str(tmp_path / "spool"))
    otel = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1]:9"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(settings | otel),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-2:] == ["[]", "False"]


WITHOUT_THE_EXTRA = "DLR_OTLP_ENDPOINT is set, and opentelemetry.sdk"


def settings_without_the_extra(folder: Path) -> dict[str, str]:
    return environment(
        f"sqlite:///{folder}/dlr.db",
        DLR_OTLP_ENDPOINT="http://127.0.0.1:4318",
        DLR_SPOOL_DIR=str(folder / "spool"),
    )


def test_an_endpoint_without_the_extra_stops_the_start_in_words(tmp_path: Path) -> None:
    missing = "import sys\nsys.modules['opentelemetry.sdk.trace'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(missing)
    env = settings_without_the_extra(tmp_path) | {"PYTHONPATH": str(tmp_path)}
    done = run_dlr(["serve"], env)
    assert done.returncode == 2
    assert WITHOUT_THE_EXTRA in done.stderr
    assert "is not installed: pip install 'iovox-receipts[otel]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_finds_an_endpoint_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "app.ops.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    done = dlr(["doctor", "--json"], settings_without_the_extra(tmp_path))
    (found,) = [one for one in json.loads(done.stdout)["findings"] if "OTLP" in one["words"]]
    assert WITHOUT_THE_EXTRA in found["words"]
    assert "install it" in found["remedy"]


@pytest.mark.parametrize("wrong", ["collector:4318", "http://collector:4318?key=x", "grpc://x"])
def test_an_endpoint_that_is_none_stops_the_start(tmp_path: Path, wrong: str) -> None:
    settings = environment(f"sqlite:///{tmp_path}/dlr.db", DLR_OTLP_ENDPOINT=wrong)
    done = dlr(["serve"], settings)
    assert done.returncode == 2
    assert "DLR_OTLP_ENDPOINT: must be a" in done.stderr
