"""One line for each step of a message, by whose ids it is followed through all processes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.ops.logs import StepLog, is_request_id
from tests.receive.serving import bearer, create_key
from tests.send.world import HELLO, World
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.process import ServerProcess
from tests.support.processes import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@dataclass
class Everybody:
    """Two replicas without workers behind nginx, and a worker."""

    nginx: Nginx
    replicas: list[ServerProcess]
    worker: ServerProcess
    database_url: str


@pytest.fixture
def everybody(postgres_url: str, tmp_path: Path) -> Iterator[Everybody]:
    ports, iovox = [free_port(), free_port()], free_port()
    with ExitStack() as stack:
        nginx = stack.enter_context(Nginx(ports))
        env = {
            "DLR_DATABASE_URL": postgres_url,
            "DLR_PUBLIC_URL": nginx.url,
            "DLR_CALLBACK_URL_HEADERS": "Content-Type: application/json,X-Secret: a-secret",
            "DLR_IOVOX_URL": f"http://127.0.0.1:{iovox}",
            "DLR_IOVOX_USERNAME": "someone",
            "DLR_IOVOX_SECURE_KEY": "a-key",
        }
        stack.enter_context(
            ServerProcess.fork(
                ["simulator", "--port", str(iovox)],
                ready_url=f"http://127.0.0.1:{iovox}/_simulator/counts",
            )
        )
        replicas = [
            stack.enter_context(
                ServerProcess.fork(
                    ["serve", "--no-workers", "--port", str(port)],
                    env | {"DLR_SPOOL_DIR": str(tmp_path / f"{port}")},
                    ready_url=f"http://127.0.0.1:{port}/healthz",
                )
            )
            for port in ports
        ]
        ops_port = free_port()
        worker = stack.enter_context(
            ServerProcess.fork(
                ["worker"],
                env | {"DLR_OPS_PORT": str(ops_port), "DLR_SPOOL_DIR": str(tmp_path / "worker")},
                ready_url=f"http://127.0.0.1:{ops_port}/readyz",
            )
        )
        assert "dlr_queue_depth" in httpx.get(f"http://127.0.0.1:{ops_port}/metrics").text
        yield Everybody(nginx, replicas, worker, postgres_url)


def lines(text: str, **wanted: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [one for one in found if wanted.items() <= one.items()]


def test_a_message_is_followed_through_replicas_worker_and_proxy(everybody: Everybody) -> None:
    key = create_key(everybody.database_url, "send", "read")
    asked = bearer(key) | {"X-Request-Id": "follow-me-1", "Prefer": "respond-async"}
    sent = httpx.post(f"{everybody.nginx.url}/v1/messages", json=HELLO, headers=asked)
    assert sent.status_code == 202, sent.text
    assert sent.headers["x-request-id"] == "follow-me-1"
    message_id = sent.json()["id"]

    def replicas() -> list[dict[str, Any]]:
        return [
            line
            for replica in everybody.replicas
            for line in lines(replica.output(), message_id=message_id)
        ]

    def is_delivered() -> bool:
        return any(line.get("status") == "DELIVERED" for line in replicas())

    assert wait_until(is_delivered, timeout=20, every=0.1)
    (recorded,) = [line for line in replicas() if line["event"] == "recorded"]
    assert recorded["request_id"] == "follow-me-1"
    (submitted,) = lines(everybody.worker.output(), message_id=message_id)
    assert submitted["event"] == "submitted"
    receipts = [line for line in replicas() if line["event"] == "receipt"]
    assert sorted(line["status"] for line in receipts) == ["ACKNOWLEDGED", "DELIVERED"]
    assert {line["sms_activity_id"] for line in receipts} == {submitted["sms_activity_id"]}

    def proxied() -> bool:  # nginx writes a line once all is over
        return len(lines(everybody.nginx.access_log(), method="POST")) == 3

    assert wait_until(proxied, timeout=5)
    ours = lines(everybody.nginx.access_log(), message_id=message_id)
    assert sorted(line["path"] for line in ours) == ["/dlr", "/dlr", "/v1/messages"]
    by_id = {line["request_id"]: line["path"] for line in ours}
    assert by_id["follow-me-1"] == "/v1/messages"
    assert {by_id[line["request_id"]] for line in receipts} == {"/dlr"}


async def test_ids_of_requests_and_traces(sqlite_world: World) -> None:
    service = await sqlite_world.service()
    answer = await service.client.get("/healthz", headers={"traceparent": TRACEPARENT})
    assert answer.headers["traceparent"] == TRACEPARENT
    assert is_request_id(answer.headers["x-request-id"].encode())
    for good in ("a", "A-1", "x" * 64):
        answer = await service.client.get("/healthz", headers={"X-Request-Id": good})
        assert answer.headers.get_list("x-request-id") == [good]
    for bad in ("", "x" * 65, "a b", "a\tb", "ä", '"', "a_b", "a;b"):
        headers = {b"X-Request-Id": bad.encode()}
        answer = await service.client.get("/healthz", headers=headers)
        assert answer.headers["x-request-id"] not in ("", bad)
    for bad in ("", "00-zz", TRACEPARENT.upper(), TRACEPARENT + "-x"):
        answer = await service.client.get("/healthz", headers={"traceparent": bad})
        assert "traceparent" not in answer.headers


async def test_receipts_answer_their_ids(sqlite_world: World) -> None:
    service = await sqlite_world.service()
    for given, answered in (("abc-1", ["abc-1"]), ("a b", [])):
        headers = {"X-Secret": "a-secret-of-the-tests", "X-Request-Id": given}
        body = '{"sms_activity_id": "x", "status": "DELIVERED"}'
        answer = await service.client.post("/dlr", content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.headers.get_list("x-request-id") == answered


async def test_the_trace_is_in_the_lines(
    sqlite_world: World, capfd: pytest.CaptureFixture[str]
) -> None:
    iovox = await sqlite_world.iovox()
    service = await sqlite_world.service(iovox)
    assert (await service.send(traceparent=TRACEPARENT)).status_code == 201
    said = lines(capfd.readouterr().err, trace_id=TRACE)
    assert [line["event"] for line in said] == ["recorded", "submitted"]


@pytest.mark.parametrize("level", ["warning", "error"])
def test_steps_are_not_logged_above_info(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    steps = StepLog(level=level, as_json=True)
    steps.log("recorded", message_id="x")
    assert not steps.is_on
    assert capsys.readouterr().err == ""


def test_what_comes_from_outside_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (True, False):
        steps = StepLog(level="info", as_json=as_json)
        steps.log("receipt", sms_activity_id='a"\n\x1b[31m{"event": "forged"}')
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "\x1b" not in said
