"""JSON bodies in, problem details out: on every route that takes a body, over HTTP."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.architecture.routes import Offered, offered
from tests.receive.serving import Service, bearer, serve
from tests.support import load

KIB = 1024
LIMITS = {
    "/v1/messages": 64 * KIB,
    "/v1/messages/lookup": 512 * KIB,
    "/v1/messages/batch": 4096 * KIB,
}
TAKES_A_BODY = [
    route
    for route in offered()
    if str(route) in {"POST /v1/messages", "POST /v1/messages/batch", "POST /v1/messages/lookup"}
]

WITHOUT_FIELDS = ("/replay", "/secret", "/test", "/resend")
TAKES_NO_BODY = [
    route
    for route in offered()
    if route.path.startswith("/v1")
    and route.path.endswith(WITHOUT_FIELDS)
    and route.path != "/v1/webhooks/{id}/replay"
]


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("web")
    shutil.copytree(sqlite_template, folder, dirs_exist_ok=True)
    running = serve(f"sqlite:///{folder / 'dlr.db'}")
    yield running
    running.process.close()


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    key = service.key("send", "read")
    with httpx.Client(base_url=service.url, headers=bearer(key), timeout=10) as made:
        yield made


NOT_JSON = [
    ("nothing", b""),
    ("words", b"hello"),
    ("cut off", b'{"origin": "4479'),
    ("NaN", b'{"expiry": NaN}'),
    ("deep", b"[" * 50_000),
    ("not UTF-8", b'{"message": "caf\xe9"}'),
    ("NUL", b"\x00"),
    ("a number of 5,000 digits", b'{"expiry": ' + b"9" * 5_000 + b"}"),
]


@pytest.mark.parametrize("route", TAKES_A_BODY, ids=str)
def test_what_is_not_json(client: httpx.Client, route: Offered) -> None:
    for label, sent in NOT_JSON:
        answer = client.request(route.method, route.target, content=sent)
        assert (answer.status_code, answer.headers["content-type"]) == (
            400,
            "application/problem+json",
        ), label
        assert answer.json()["type"] == "urn:iovox-receipts:problem:bad-request", label


@pytest.mark.parametrize("route", TAKES_A_BODY, ids=str)
def test_too_much_is_said_to_be(client: httpx.Client, route: Offered) -> None:
    limit = LIMITS[route.path]
    for content in (b" " * (limit + 1), b" " * 3 * limit, iter([b" " * limit] * 2)):
        answer = client.request(route.method, route.target, content=content)
        assert answer.status_code == 413
    at_most = client.request(route.method, route.target, content=b" " * (limit - 2) + b"{}")
    assert at_most.status_code == 422


@pytest.mark.parametrize("route", TAKES_A_BODY, ids=str)
def test_who_hangs_up_half_way_is_no_news(
    service: Service, client: httpx.Client, route: Offered
) -> None:
    before = service.process.output()
    whole = load.request(route.method, route.target, dict(client.headers), b"x" * 1_000)
    for _ in range(3):
        with service.connect() as connection:
            connection.sendall(whole[:-500])
    assert client.get("/healthz").status_code == 200
    assert service.process.output() == before


@pytest.mark.parametrize("route", TAKES_NO_BODY, ids=str)
def test_a_body_is_refused_where_there_is_none(service: Service, route: Offered) -> None:
    headers = bearer(service.key("admin"))
    with httpx.Client(base_url=service.url, headers=headers, timeout=10) as client:
        refused = client.post(route.target, content=b'{"limit": 10}')
        assert refused.status_code == 422
        assert [fault["field"] for fault in refused.json()["errors"]] == ["limit"]
        for content, status in ((b"[]", 422), (b"limit=10", 400), (b" " * 65 * KIB, 413)):
            assert client.post(route.target, content=content).status_code == status
        for content in (b"", b"{}"):
            assert client.post(route.target, content=content).status_code in (200, 404)


def test_there_are_routes_to_test() -> None:
    assert len(TAKES_NO_BODY) >= 5
    assert len(TAKES_A_BODY) == 3


def test_a_number_too_long_is_told_in_our_words(client: httpx.Client) -> None:
    answer = client.post("/v1/messages", content=b'{"expiry": ' + b"9" * 5_000 + b"}")
    assert answer.json()["detail"] == "The body is not JSON: a number has more than 100 characters"


@pytest.mark.parametrize("route", [route for route in offered() if route.scopes], ids=str)
def test_a_query_parameter_that_no_route_knows(service: Service, route: Offered) -> None:
    headers = bearer(service.key("admin"))
    target = f"{service.url}{route.target}?colour=red"
    answer = httpx.request(route.method, target, headers=headers, content=b"{}")
    assert answer.status_code == 422
    named = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert "colour" in named
    assert all(
        "missing" in why or "required" in why.lower()
        for name, why in named.items()
        if name != "colour"
    )


NOWHERE = [
    ("no such path", "GET", "/v1/nothing", 404),
    ("the root of nothing", "GET", "/v1", 404),
    ("an empty id", "POST", "/v1/messages/", 405),
    ("no such method", "PATCH", "/v1/messages", 405),
    ("no such method here", "PUT", "/healthz", 405),
]


@pytest.mark.parametrize(
    ("method", "path", "status"), [pytest.param(*row[1:], id=row[0]) for row in NOWHERE]
)
def test_nowhere(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path, content=b"{}")
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.content)["status"] == answer.status_code == status
    if status == 405:
        assert answer.headers["allow"]
    else:
        assert "/docs lists what there is" in json.loads(answer.content)["detail"]


OFFERED = [
    ("/v1/messages", "GET, POST"),
    ("/v1/messages/batch", "POST"),
    ("/v1/messages/one", "DELETE, GET"),
    ("/v1/messages/an/id/with/slashes", "DELETE, GET"),
    ("/v1/messages/one/resend", "POST"),
    ("/v1/webhooks/one", "DELETE, GET, PATCH"),
    ("/healthz", "GET, HEAD"),
    ("/v1/messages/", "DELETE, GET"),
    ("/docs", "GET"),
]


@pytest.mark.parametrize(("path", "methods"), OFFERED)
def test_what_is_offered_at_a_path(client: httpx.Client, path: str, methods: str) -> None:
    answer = client.request("PUT", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, methods)
