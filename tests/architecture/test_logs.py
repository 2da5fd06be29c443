"""Secrets, message texts and phone numbers are never logged, also on errors."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.simulator.behaviour import Behaviour
from app.simulator.main import create_simulator
from app.simulator.server import make_server
from app.store.engine import Database
from tests.receive.serving import (
    AUTH_HEADER,
    CALLBACK_HEADERS,
    PREVIOUS,
    SECRET,
    Service,
    bearer,
    body,
    environment,
    run,
    serve,
)
from tests.simulator.running import running, wait_until
from tests.support.ports import free_port

TEXT = "Your one-time code is 918273"
ORIGIN, NUMBER = "447923221231", "4477004433"  # and two digits that tell the simulator what to do
TYPED = f"+{NUMBER[:2]} {NUMBER[2:6]} {NUMBER[6:]}"
ENDS = ["00", "01", "06", "09", "10", "11", "12", "13"]
PRIVATE_STATUS = "delivered to J. Public"


@pytest.fixture
def iovox_url() -> Iterator[str]:
    quick = Behaviour(receipt_delay=0.01, withheld=0.1)
    with running(make_server(create_simulator(behaviour=quick), port=0)) as url:
        yield url


@contextmanager
def serving(database_url: str, iovox_url: str, log_format: str) -> Iterator[Service]:
    port = free_port()
    service = serve(
        database_url,
        port=port,
        DLR_PUBLIC_URL=f"http://127.0.0.1:{port}",
        DLR_IOVOX_URL=iovox_url,
        DLR_IOVOX_READ_TIMEOUT="1",
        DLR_LOG_LEVEL="debug",
        DLR_LOG_FORMAT=log_format,
    )
    try:
        yield service
    finally:
        service.process.close()


def message(**changes: Any) -> dict[str, Any]:
    return {"origin": ORIGIN, "destination": TYPED + "00", "message": TEXT, **changes}


def send_in_every_way(client: httpx.Client) -> None:
    for end in ENDS:
        assert client.post("/v1/messages", json=message(destination=TYPED + end)).status_code < 500
    for wrong in (
        message(destination="not a number"),
        message(expiry=0),
        message(message=TEXT * 10),
        message(message=TEXT + "\x00"),
        message(message=TEXT + "\ud800"),
        message(expiry=10**20),
        message(text=TEXT),
        [message()],
    ):
        answer = client.post("/v1/messages", content=json.dumps(wrong))
        assert 400 <= answer.status_code < 500
    client.post("/v1/messages", content=f'{{"message": "{TEXT}'.encode())
    client.post("/v1/messages/batch", json={"messages": [message(), message(expiry=0)]})
    client.get("/v1/messages", params={"destination": NUMBER + "00"})
    client.get(f"/v1/messages/{NUMBER}00")


def erase(admin: httpx.Client) -> None:
    """Also looked for before, in several notations, and by somebody who is not signed in."""
    number = f"{TYPED}00"
    for path in ("/v1/messages", "/console", "/console/messages.csv"):
        admin.get(path, params={"destination": number, "q": number})
    admin.get(f"/console/messages/{NUMBER}00")
    assert admin.post("/v1/erasures", json={"destination": "not a number"}).status_code == 422

    asked = admin.post("/v1/erasures", json={"destination": number})
    deadline = time.monotonic() + 60
    # One may be under way for as long as iovox keeps its answer back; then every disk confirms.
    while asked.status_code == 409 or not admin.get(asked.headers["Location"]).json()["erased_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        if asked.status_code == 409:
            asked = admin.post("/v1/erasures", json={"destination": number})


def call_in_every_way(client: httpx.Client) -> None:
    for headers in (CALLBACK_HEADERS, {AUTH_HEADER: PREVIOUS[0]}, {AUTH_HEADER: SECRET + "x"}, {}):
        for sent in (
            body("some", "DELIVERED", delivery_status=PRIVATE_STATUS),
            body("some", PRIVATE_STATUS),
            body("x" * 300, "DELIVERED", delivery_status=PRIVATE_STATUS),
            f'{{"delivery_status": "{PRIVATE_STATUS}'.encode(),
            b"",
        ):
            for hint in ({}, {"X-Message-Id": PRIVATE_STATUS}, {"X-Message-Id": "0" * 32}):
                client.post("/dlr", content=sent, headers={**headers, **hint})


@contextmanager
def without_a_table(database_url: str, table: str) -> Iterator[None]:
    """Everything that needs it fails meanwhile, in the database's own words."""
    run(_rename(database_url, table, "set_aside"))
    try:
        yield
    finally:
        run(_rename(database_url, "set_aside", table))


async def _rename(database_url: str, old: str, new: str) -> None:
    database = Database(database_url)
    async with database.write() as connection:
        await connection.execute(text(f"alter table {old} rename to {new}"))
    await database.close()


@pytest.mark.parametrize(
    ("database_url", "log_format"),
    [
        ("sqlite", "console"),
        pytest.param("postgresql", "json", marks=pytest.mark.postgresql),
    ],
    indirect=["database_url"],
)
def test_nothing_private_in_the_logs(database_url: str, iovox_url: str, log_format: str) -> None:
    with serving(database_url, iovox_url, log_format) as service:
        key = service.key("send", "read")
        with httpx.Client(base_url=service.url, headers=bearer(key), timeout=10) as client:
            send_in_every_way(client)
            call_in_every_way(client)
            client.get("/v1/messages/x", headers=bearer(f"{key}-wrong"))
            with httpx.Client(base_url=service.url, timeout=10) as admin:
                admin.headers.update(bearer(service.key("admin")))
                erase(admin)
            with without_a_table(database_url, "receipts"):
                call_in_every_way(client)
                time.sleep(0.1)
            for table in ("messages", "events", "api_keys"):
                with without_a_table(database_url, table):
                    client.post("/v1/messages", json=message())
                    client.get(f"/v1/messages/{NUMBER}00")
            wait_until(
                lambda: client.get("/readyz").status_code == 200, "the service to be itself again"
            )
        said = service.process.output()
    for event in ("callbacks_refused", "database_away", "send_not_accepted"):
        assert event in said, f"nothing was said of {event}: then there is nothing to search"
    secrets = [SECRET, *PREVIOUS, key, environment("x")["DLR_IOVOX_SECURE_KEY"]]
    private = [TEXT, TEXT[-6:], ORIGIN, NUMBER, TYPED, PRIVATE_STATUS]
    assert [word for word in (*secrets, *private) if word in said] == []
