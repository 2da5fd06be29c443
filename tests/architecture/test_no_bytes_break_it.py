"""Fuzzing: no bytes, sent to any route with or without a key, cause a 5xx or end the server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.architecture.routes import Offered, offered
from tests.receive.serving import CALLBACK_HEADERS, Service, bearer, hung_up, serving_a_copy
from tests.support import load

DLR = [Offered(method, "/dlr", frozenset()) for method in ("POST", "GET", "PUT")]
# A stream has no end; it has tests of its own.
ROUTES = [*DLR, *(route for route in offered() if not route.path.endswith("/stream"))]
FORMS = "/console"
"""Pages for people. A form is read before it is known who sent it, as that of signing in is."""
WRITING = [route for route in ROUTES if route.method in {"POST", "PUT", "PATCH", "DELETE"}]

QUICK = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["447723443321", "2026-11-22T09:00:00Z", "\ud800", "\x00", "+", "0" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.sampled_from(
    ["origin", "destination", "message", "expiry", "c2c_failover_link_id", "reference", "send_at",
     "messages", "ids", "url", "statuses", "sms_activity_id", "status", "delivery_status",
     "status_reason", "receipt_timestamp"]
)  # fmt: skip
objects = st.dictionaries(names | st.text(max_size=5), values, max_size=8)
some_json = st.one_of(
    values,
    objects,
    st.builds(lambda all_of: {"messages": all_of}, st.lists(objects, max_size=3)),
    st.builds(lambda all_of: {"ids": all_of}, st.lists(values, max_size=3)),
).map(lambda value: json.dumps(value).encode())
parameters = st.sampled_from(
    ["status", "destination", "reference", "origin", "from", "to", "final", "overdue", "cursor",
     "limit", "after", "wait", "by", "app", "x"]
)  # fmt: skip
texts = st.text(max_size=12).map(str.encode) | st.binary(max_size=6)
queries = st.lists(st.tuples(parameters, texts), max_size=3)
wholes = st.sampled_from(["", "\x00", "%", "é", "../..", "a/b", "0" * 300, "\ud800"]) | st.text(
    max_size=20
)


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving_a_copy(sqlite_template, tmp_path_factory.mktemp("robust")) as running:
        yield running


@pytest.fixture(scope="module")
def secrets(service: Service) -> dict[str, str]:
    """The headers that authenticate at every route."""
    return {**CALLBACK_HEADERS, **bearer(service.key("send", "read", "admin"))}


def status_of(service: Service, request: bytes) -> int:
    """The status of the response; the connection is not reused."""
    with service.connect() as connection:
        connection.sendall(request)
        head = b""
        while len(head) < 12:
            more = connection.recv(4096)
            assert more, "no answer at all"
            head += more
    return int(head[9:12])


def fill(route: Offered, name: str) -> str:
    """The route's path with this text wherever it takes an id."""
    quoted = quote(name.encode("utf-8", "surrogatepass"), safe="")
    before, brace, rest = route.path.partition("{")
    while brace:
        _, _, after = rest.partition("}")
        before, brace, rest = (before + quoted + after).partition("{")
    return before


@pytest.mark.parametrize("with_secrets", [True, False], ids=["let in", "strangers"])
@QUICK
@given(route=st.sampled_from(WRITING), sent=st.binary(max_size=400) | some_json, name=wholes)
@example(route=DLR[0], sent=b"", name="")
@example(route=DLR[0], sent=b'{"sms_activity_id": "\\ud800", "status": "\\u0000"}', name="")
def test_bodies(
    service: Service,
    secrets: dict[str, str],
    with_secrets: bool,
    route: Offered,
    sent: bytes,
    name: str,
) -> None:
    headers = secrets if with_secrets else {}
    status = status_of(service, load.request(route.method, fill(route, name), headers, sent))
    assert status < 500
    if not with_secrets and not route.path.startswith(FORMS):
        assert status in (401, 404, 405)


@QUICK
@given(route=st.sampled_from(ROUTES), name=wholes, query=queries)
def test_paths_and_queries(
    service: Service,
    secrets: dict[str, str],
    route: Offered,
    name: str,
    query: list[tuple[str, bytes]],
) -> None:
    pairs = [f"{key}={quote(value)}" for key, value in query]
    target = fill(route, name) + ("?" + "&".join(pairs) if pairs else "")
    assert status_of(service, load.request(route.method, target, secrets, b"{}")) < 500


@QUICK
@given(
    st.sampled_from(["X-Message-Id", "Idempotency-Key", "Content-Type", "If-None-Match", "Accept",
                     "Authorization", "Last-Event-ID", "Content-Encoding", "Cookie", "Range"]),
    st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\r\n\x00")),
    st.sampled_from(ROUTES),
)  # fmt: skip
def test_headers(
    service: Service, secrets: dict[str, str], name: str, value: bytes, route: Offered
) -> None:
    headers = {**secrets, name: value.decode("latin-1")}
    assert status_of(service, load.request(route.method, route.target, headers, b"{}")) < 500


@QUICK
@given(st.binary(min_size=1, max_size=200))
@example(b"GET /\xff HTTP/1.1\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
@example(b"POST /dlr HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n")
@example(b"GET /dlr HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
@example(b"CONNECT /dlr HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
def test_what_is_not_even_http(service: Service, sent: bytes) -> None:
    with closing(service.connect()) as connection:
        connection.sendall(sent + b"\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while more := connection.recv(4096):
                answer += more
        except (ConnectionError, TimeoutError):
            pass
    assert not answer.startswith(b"HTTP/1.1 5"), answer


def test_it_still_lives_and_has_little_to_say(service: Service) -> None:
    for _ in range(300):
        with closing(service.connect()) as connection:
            connection.sendall(b"\x00\x01 this is not HTTP\r\n\r\n")
            assert hung_up(connection, within=2.0)
    assert status_of(service, load.get("/healthz")) == 200
    said = service.process.output()
    assert "Traceback" not in said
    assert said.count("Invalid HTTP request received") <= 12  # one in ten seconds
