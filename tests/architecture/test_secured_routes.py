"""Every /v1 route asks for a key of its scope, from the headers alone: one set of cases for all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.model.api_key import Scope
from app.store.engine import Database
from app.store.keys import KeyStore
from app.web.paths import ANY_MESSAGE_ID
from tests.architecture.routes import Offered, offered
from tests.receive.serving import RawAnswer, Service, read_answer, run, serve

ROUTES = offered()
SECURED = [route for route in ROUTES if route.path.startswith("/v1")]
OPEN = {"/healthz", "/readyz", "/metrics", "/openapi.json"}
PAGES = ("/docs", "/console")
"""For people's browsers; what they show comes over /v1, with a key."""
UNREAD = "Content-Length: 1000\r\n"
"""Announces a body that is never sent: reading it before the key is checked would hang."""


@dataclass(frozen=True)
class Keys:
    """Keys of one service: for each scope one that has it alone, and one that is revoked."""

    service: Service
    of: dict[Scope, str]
    revoked: str

    def without(self, scopes: frozenset[Scope]) -> list[str]:
        """Keys that lack all of these scopes; one for admins lacks none."""
        return [key for has, key in self.of.items() if has not in scopes | {Scope.ADMIN}]

    def good(self, scopes: frozenset[Scope]) -> list[str]:
        """Keys that have one of these scopes alone, and an admin's."""
        return [self.of[scope] for scope in sorted(scopes | {Scope.ADMIN})]


@pytest.fixture(scope="module")
def keys(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    folder = tmp_path_factory.mktemp("secured")
    shutil.copytree(sqlite_template, folder, dirs_exist_ok=True)
    # Its tests are wrong callers of one address, many times a second.
    service = serve(f"sqlite:///{folder / 'dlr.db'}", DLR_FAILED_LOGINS="100000")
    revoked = service.key("send", "read", "admin")
    run(_revoke(service, revoked))
    yield Keys(service, {scope: service.key(str(scope)) for scope in Scope}, revoked)
    service.process.close()


async def _revoke(service: Service, key: str) -> None:
    database = Database(service.database_url)
    assert await KeyStore(database).revoke(key[-12:])
    await database.close()


def call(service: Service, route: Offered, *headers: str) -> RawAnswer:
    """The response to a request whose body is not sent."""
    lines = [f"{route.method} {route.target} HTTP/1.1", "Host: x", *headers]
    with service.connect() as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n" + UNREAD + "\r\n").encode("latin-1"))
        return read_answer(connection)


def test_there_are_routes_to_test() -> None:
    assert {"/v1/messages", "/v1/messages/batch", "/v1/messages/{id}"} <= {
        route.path.replace(f":{ANY_MESSAGE_ID}", "") for route in SECURED
    }
    assert {scope for route in SECURED for scope in route.scopes} == set(Scope)


@pytest.mark.parametrize("route", SECURED, ids=str)
def test_every_v1_route_has_a_scope(route: Offered) -> None:
    assert route.scopes


CHANGED_BY = {"messages": Scope.SEND, "webhooks": Scope.WEBHOOKS, "receipts": Scope.ADMIN}
"""Who may change what is below a path."""
READS_BY_POST = "/v1/messages/lookup"
ANY_KEY = "/v1/evidence/"
WITH_TEXTS = "/evidence"
"""What holds texts, which support sees on request alone."""
ADMINS_ONLY = ("/v1/receipts/rejected", "/v1/audit", "/v1/erasures")


@pytest.mark.parametrize("route", SECURED, ids=str)
def test_the_matrix_of_scopes(route: Offered) -> None:
    """As docs/api.md has it: support reads all that apps read, and changes nothing."""
    resource = route.path.split("/")[2]
    if route.path.startswith(ADMINS_ONLY):
        assert route.scopes == {Scope.ADMIN}
    elif route.path.startswith(ANY_KEY):
        assert route.scopes == set(Scope)
    elif route.path.endswith(WITH_TEXTS):
        assert route.scopes == {Scope.READ}
    elif route.method == "GET" or route.path == READS_BY_POST:
        of_apps = set() if resource in ("receipts", "alarms") else {Scope.READ}
        assert route.scopes == {*of_apps, Scope.SUPPORT}
    else:
        assert route.scopes == {CHANGED_BY[resource]}


def test_what_is_open_is_meant_to_be() -> None:
    unsecured = {route.path for route in ROUTES if not route.scopes}
    assert {path for path in unsecured if not path.startswith(PAGES)} <= OPEN


# label, Authorization headers
STRANGERS: list[tuple[str, list[str]]] = [
    ("nothing", []),
    ("nothing in it", ["Authorization:"]),
    ("no key", ["Authorization: Bearer"]),
    ("a blank key", ["Authorization: Bearer    "]),
    ("another scheme", ["Authorization: Basic {good}"]),
    ("no scheme", ["Authorization: {good}"]),
    ("an unknown key", ["Authorization: Bearer dlr_unknown"]),
    ("a longer key", ["Authorization: Bearer {good}x"]),
    ("a shorter key", ["Authorization: Bearer {short}"]),
    ("two keys in one", ["Authorization: Bearer {good},{good}"]),
    ("a revoked key", ["Authorization: Bearer {revoked}"]),
    ("not ASCII", ["Authorization: Bearer \xff\xfe"]),
    ("a very long key", ["Authorization: Bearer " + "x" * 8_000]),
    ("in another header", ["X-Api-Key: {good}"]),
]


@pytest.mark.parametrize("route", SECURED, ids=str)
def test_strangers(keys: Keys, route: Offered) -> None:
    good = keys.good(route.scopes)[-1]
    problems = set()
    for label, headers in STRANGERS:
        filled = [h.format(good=good, short=good[:-1], revoked=keys.revoked) for h in headers]
        answer = call(keys.service, route, *filled)
        assert answer.status == 401, label
        assert answer.headers["www-authenticate"] == "Bearer", label
        if route.method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json", label
            problems.add(json.loads(answer.body)["type"])
            assert good not in answer.body.decode(), label
    assert problems <= {"urn:iovox-receipts:problem:not-authenticated"}


@pytest.mark.parametrize("route", SECURED, ids=str)
def test_another_scope_is_not_enough(keys: Keys, route: Offered) -> None:
    others = keys.without(route.scopes)
    assert others or route.path.startswith(ANY_KEY)
    for key in others:
        answer = call(keys.service, route, f"Authorization: Bearer {key}")
        assert answer.status == 403
        detail = json.loads(answer.body)["detail"]
        assert all(scope in detail for scope in route.scopes)


@pytest.mark.parametrize("route", SECURED, ids=str)
def test_the_right_key_gets_in(keys: Keys, route: Offered) -> None:
    """Without this test a route that refuses every key would pass."""
    for key in keys.good(route.scopes):
        for written in ("Bearer", "bearer"):
            head = f"{route.method} {route.target} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n"
            with keys.service.connect() as connection:
                key_line = f"Authorization: {written} {key}\r\n\r\n{{}}"
                connection.sendall((head + key_line).encode())
                started = connection.recv(16)
            assert int(started.split()[1]) not in (401, 403, 500)


def test_a_scope_is_no_other(keys: Keys) -> None:
    """A key with the scope read cannot send, and one with send cannot read."""
    sends = next(route for route in SECURED if Scope.SEND in route.scopes)
    reads = next(route for route in SECURED if Scope.READ in route.scopes)
    by_read = call(keys.service, sends, f"Authorization: Bearer {keys.of[Scope.READ]}")
    by_send = call(keys.service, reads, f"Authorization: Bearer {keys.of[Scope.SEND]}")
    assert (by_read.status, by_send.status) == (403, 403)
