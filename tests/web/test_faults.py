"""Faults are bounded: 20 by name, quotes of 100 characters, and how many more there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.architecture.routes import Offered, offered
from tests.receive.serving import AUTH_HEADER, SECRET, Service, bearer, serving_a_copy

KIB = 1024
MESSAGE = {"origin": "447923221231", "destination": "447723443321", "message": "hello"}
KEYED = [route for route in offered() if route.scopes]
TAKES_A_BODY = {
    "POST /v1/messages": 64 * KIB,
    "POST /v1/messages/batch": 4096 * KIB,
    "POST /v1/messages/lookup": 512 * KIB,
    "POST /v1/webhooks": 64 * KIB,
}
BODIES = [route for route in offered() if str(route) in TAKES_A_BODY]
BOM = b"\xef\xbb\xbf"


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving_a_copy(sqlite_template, tmp_path_factory.mktemp("faults")) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    headers = bearer(service.key("admin"))
    with httpx.Client(base_url=service.url, headers=headers, timeout=10) as made:
        yield made


def unknown(count: int) -> dict[str, int]:
    return {f"unknown_{number}": number for number in range(count)}


@pytest.mark.parametrize("route", BODIES, ids=str)
def test_a_body_of_unknown_names(client: httpx.Client, route: Offered) -> None:
    count = TAKES_A_BODY[str(route)] // 64 // KIB * 500
    content = json.dumps(unknown(count)).encode()
    problem = client.request(route.method, route.target, content=content)
    assert problem.status_code == 422
    assert len(problem.content) < 4 * KIB
    told = problem.json()
    named = [error["field"] for error in told["errors"]]
    assert len(named) == 20
    assert any(name.startswith("unknown_") for name in named)
    required = {"POST /v1/messages": 3}.get(str(route), 1)
    assert told["errors_left_out"] == count + required - 20


@pytest.mark.parametrize("closes", [False, True], ids=["kept alive", "close"])
@pytest.mark.parametrize("path", [*(route.target for route in BODIES), "/dlr"])
def test_who_writes_a_whole_body_that_is_refused_gets_the_answer(
    service: Service, client: httpx.Client, path: str, closes: bool
) -> None:
    content = json.dumps(dict.fromkeys(unknown(200_000), 1)).encode()
    headers = {"Authorization": client.headers["authorization"], AUTH_HEADER: SECRET}
    if closes:
        headers["Connection"] = "close"
    connection = HTTPConnection(*service.address, timeout=30)  # writes all before it reads
    connection.request("POST", path, body=content, headers=headers)
    answer = connection.getresponse()
    assert answer.status == (422 if path == "/v1/messages/batch" else 413)
    assert json.loads(answer.read())["status"] == answer.status
    connection.close()


def test_there_are_routes_to_test() -> None:
    assert len(BODIES) == len(TAKES_A_BODY)


def test_twenty_faults_are_all_named(client: httpx.Client) -> None:
    told = client.post("/v1/messages", json=MESSAGE | unknown(20)).json()
    assert len(told["errors"]) == 20
    assert "errors_left_out" not in told


def test_what_is_known_is_not_called_missing(client: httpx.Client) -> None:
    told = client.post("/v1/messages", json=unknown(1_000) | MESSAGE).json()
    assert all(error["field"].startswith("unknown_") for error in told["errors"])
    assert told["errors_left_out"] == 980


def test_more_than_is_ever_read(client: httpx.Client) -> None:
    answer = client.post("/v1/messages/batch", content=json.dumps(unknown(150_000)))
    assert answer.status_code == 422
    told = answer.json()
    assert told["errors"] == [
        {"field": "body", "message": "has 150000 names and values; at most 50000 are read"}
    ]
    assert told["errors_left_out"] == 100_000


LONG = "x" * 50_000
QUOTED: list[tuple[str, str, dict[str, Any]]] = [
    ("an origin", "/v1/messages", MESSAGE | {"origin": LONG}),
    ("a destination", "/v1/messages", MESSAGE | {"destination": LONG}),
    ("a name", "/v1/messages", MESSAGE | {LONG: 1}),
    ("a message", "/v1/messages", MESSAGE | {"message": LONG}),
    ("control characters", "/v1/messages", MESSAGE | {"message": bytes(range(32)).decode() * 90}),
    ("a status", "/v1/webhooks", {"url": "https://a.example.com/", "statuses": [LONG]}),
    ("a URL", "/v1/webhooks", {"url": LONG}),
]


@pytest.mark.parametrize(("path", "sent"), [row[1:] for row in QUOTED], ids=[r[0] for r in QUOTED])
def test_quotes_are_cut(client: httpx.Client, path: str, sent: dict[str, Any]) -> None:
    answer = client.post(path, json=sent)
    assert answer.status_code == 422
    for error in answer.json()["errors"]:
        assert len(error["field"]) <= 100
        assert len(error["message"]) <= 300
        assert "x" * 101 not in error["message"]


def test_a_batch_names_twenty_faults_a_message_and_a_thousand_in_all(client: httpx.Client) -> None:
    sent = [MESSAGE, *[MESSAGE | unknown(30)] * 99]
    answer = client.post(
        "/v1/messages/batch", json={"messages": sent}, headers={"Idempotency-Key": "many-faults"}
    )
    assert answer.status_code == 202
    first, *others = answer.json()["messages"]
    assert (first["status"], first["errors"]) == ("QUEUED", [])
    assert "errors_left_out" not in first
    named = [len(item["errors"]) for item in others]
    assert named == [20] * 50 + [0] * 49
    assert [item["errors_left_out"] for item in others] == [10] * 50 + [30] * 49
    again = client.post(
        "/v1/messages/batch", json={"messages": sent}, headers={"Idempotency-Key": "many-faults"}
    )
    assert (again.headers["idempotency-replayed"], again.json()) == ("true", answer.json())


def test_a_name_that_stands_twice(client: httpx.Client) -> None:
    for content in (
        b'{"origin": "a", "destination": "447723443321", "message": "x", "origin": "b"}',
        b'{"origin": "a", "origin": "a", "destination": "447723443321", "message": "x"}',
    ):
        answer = client.post("/v1/messages", content=content)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["origin"]


@pytest.mark.parametrize("route", BODIES, ids=str)
def test_a_name_that_stands_twice_anywhere(client: httpx.Client, route: Offered) -> None:
    answer = client.request(route.method, route.target, content=b'{"x": 1, "y": 2, "x": 1}')
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["x"]


def test_a_name_twice_in_one_message_of_a_batch(client: httpx.Client) -> None:
    good = json.dumps(MESSAGE)
    content = f'{{"messages": [{good}, {good[:-1]}, "message": "bye"}}, {good}]}}'
    items = client.post("/v1/messages/batch", content=content).json()["messages"]
    assert [item["status"] for item in items] == ["QUEUED", "REJECTED", "QUEUED"]
    assert [error["field"] for error in items[1]["errors"]] == ["message"]


@pytest.mark.parametrize("route", BODIES, ids=str)
def test_a_byte_order_mark_is_no_fault(client: httpx.Client, route: Offered) -> None:
    answer = client.request(route.method, route.target, content=BOM + b"{}")
    assert answer.status_code == 422  # not 400: it is read


@pytest.mark.parametrize("route", BODIES, ids=str)
def test_a_content_encoding_is_not_read(client: httpx.Client, route: Offered) -> None:
    for encoding, status in (("gzip", 415), ("br, gzip", 415), ("identity", 422)):
        answer = client.request(
            route.method, route.target, content=b"{}", headers={"Content-Encoding": encoding}
        )
        assert answer.status_code == status


@pytest.mark.parametrize("route", KEYED, ids=str)
def test_two_authorization_headers(service: Service, client: httpx.Client, route: Offered) -> None:
    valid = client.headers["authorization"]
    for pair in ((valid, valid), (valid, "Bearer x"), ("Bearer x", valid), (valid, "")):
        headers = [("Authorization", value) for value in pair]
        answer = httpx.request(route.method, f"{service.url}{route.target}", headers=headers)
        assert answer.status_code == 400
        assert answer.json()["type"] == "urn:iovox-receipts:problem:bad-request"


def test_a_query_of_many_parameters(client: httpx.Client) -> None:
    query = "&".join(f"x{number}=1" for number in range(6_000))
    answer = client.get(f"/v1/messages?{query}")
    assert answer.status_code == 422
    assert len(answer.content) < KIB
    told = client.get("/v1/messages?" + "&".join(f"x{number}=1" for number in range(90))).json()
    assert (len(told["errors"]), told["errors_left_out"]) == (20, 70)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"])
def test_head_is_get_without_the_body(client: httpx.Client, path: str) -> None:
    got, headed = client.get(path), client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]
