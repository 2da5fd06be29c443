"""``POST /dlr`` over HTTP, against a real server on each kind of database."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select, text

from app.model.message import Message
from app.parts.batcher import MAX_WAIT
from app.store.engine import Database
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from app.store.tables import deliveries, events, metadata, receipts, rejected_receipts
from tests.receive.conftest import OF_PROCESSES
from tests.receive.serving import (
    AUTH_HEADER,
    CALLBACK_HEADERS,
    PREVIOUS,
    SECRET,
    Service,
    bearer,
    body,
    hung_up,
    read_answer,
)
from tests.store.samples import (
    acceptance,
    all_events,
    at,
    kept_receipts,
    message,
    recorded,
    statuses_of,
)
from tests.support import load

pytestmark = pytest.mark.asyncio(loop_scope="module")

GOOD = body("it", "DELIVERED")
PROBLEM = "application/problem+json"
LARGEST = 65_536


async def known(database: Database, sms_activity_id: str) -> Message:
    """A message that iovox has accepted under this id."""
    of = message()
    await MessageStore(database).add(recorded(of))
    await MessageStore(database).accepted([acceptance(of, sms_activity_id)])
    return of


async def rows(database: Database) -> dict[str, int]:
    """How many rows there are in every table that has some."""
    async with database.read() as connection:
        found = {
            table.name: (
                await connection.execute(select(func.count()).select_from(table))
            ).scalar_one()
            for table in metadata.sorted_tables
            if table.name not in OF_PROCESSES
        }
    return {name: number for name, number in found.items() if number}


# label, method, headers, body
STRANGERS: list[tuple[str, str, dict[str, str], bytes]] = [
    ("nothing", "POST", {}, GOOD),
    ("an empty secret", "POST", {AUTH_HEADER: ""}, GOOD),
    ("another secret", "POST", {AUTH_HEADER: "guess"}, GOOD),
    ("half of it", "POST", {AUTH_HEADER: SECRET[:-1]}, GOOD),
    ("more than it", "POST", {AUTH_HEADER: SECRET + "x"}, GOOD),
    ("in capitals", "POST", {AUTH_HEADER: SECRET.upper()}, GOOD),
    ("two in one", "POST", {AUTH_HEADER: f"{SECRET},{SECRET}"}, GOOD),
    ("as a bearer", "POST", {"Authorization": f"Bearer {SECRET}"}, GOOD),
    ("in another header", "POST", {"X-Secret": SECRET}, GOOD),
    ("in a cookie", "POST", {"Cookie": f"{AUTH_HEADER}={SECRET}"}, GOOD),
    ("with a message's id", "POST", {"X-Message-Id": str(uuid4())}, GOOD),
    ("garbage", "POST", {}, b"\x00\xff{"),
    ("no body", "POST", {}, b""),
    ("far too much", "POST", {}, b"x" * 1_000_000),
    ("GET", "GET", {}, b""),
    ("PUT", "PUT", {}, GOOD),
    ("OPTIONS", "OPTIONS", {}, b""),
]


@pytest.mark.parametrize(
    ("method", "headers", "sent"),
    [
        pytest.param(*row[1:], id=row[0], marks=[pytest.mark.direct] * (row[0] == "far too much"))
        for row in STRANGERS
    ],
)
async def test_strangers(
    stranger: httpx.AsyncClient,
    database: Database,
    method: str,
    headers: dict[str, str],
    sent: bytes,
) -> None:
    answer = await stranger.request(method, "/dlr", headers=headers, content=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (401, PROBLEM)
    assert answer.json()["type"] == "urn:iovox-receipts:problem:not-authenticated"
    assert AUTH_HEADER.lower() not in answer.text.lower()  # not even how to try
    assert await rows(database) == {}


async def test_the_secret_in_the_address_is_none(stranger: httpx.AsyncClient) -> None:
    assert (await stranger.post(f"/dlr?{AUTH_HEADER}={SECRET}", content=GOOD)).status_code == 401


@pytest.mark.direct
async def test_a_stranger_is_refused_before_the_body(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(b"POST /dlr HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert read_answer(connection).status == 401


@pytest.mark.direct
async def test_a_stranger_who_asks_first_is_not_told_to_go_on(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(
            b"POST /dlr HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
        )
        assert read_answer(connection).status == 401


@pytest.mark.direct
async def test_an_answer_is_seen_however_much_was_sent(service: Service) -> None:
    """A connection that is closed with bytes unread is reset, and takes the answer with it."""
    for headers, status in (({}, 401), (CALLBACK_HEADERS, 413)):
        async with service.client(headers) as client:
            for _ in range(3):
                assert (await client.post("/dlr", content=b"x" * 8_000_000)).status_code == status


@pytest.mark.direct
async def test_a_stranger_without_a_body_keeps_the_connection(service: Service) -> None:
    request = b"POST /dlr HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    with service.connect() as connection:
        for _ in range(3):
            connection.sendall(request)
            answer = read_answer(connection)
            assert (answer.status, answer.headers.get("connection")) == (401, None)


# label, header lines that let a receipt in
LET_IN = [
    ("today's", [(AUTH_HEADER, SECRET)]),
    ("yesterday's", [(AUTH_HEADER, PREVIOUS[0])]),
    ("an older one", [(AUTH_HEADER, PREVIOUS[1])]),
    ("small letters in the name", [(AUTH_HEADER.lower(), SECRET)]),
    ("after a wrong one", [(AUTH_HEADER, "wrong"), (AUTH_HEADER, SECRET)]),
]


@pytest.mark.parametrize("headers", [pytest.param(row[1], id=row[0]) for row in LET_IN])
async def test_let_in(
    stranger: httpx.AsyncClient, database: Database, headers: list[tuple[str, str]]
) -> None:
    answer = await stranger.post("/dlr", headers=headers, content=GOOD)
    assert (answer.status_code, answer.content) == (200, b"")
    assert len(await kept_receipts(database, "it")) == 1


async def test_space_around_a_secret_is_nothing(service: Service) -> None:
    with service.connect() as connection:
        connection.sendall(load.post("/dlr", {AUTH_HEADER: f" \t {SECRET}  "}, GOOD))
        assert read_answer(connection).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method(iovox: httpx.AsyncClient, database: Database, method: str) -> None:
    answer = await iovox.request(method, "/dlr", content=GOOD)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert await rows(database) == {}


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 10_000):
        yield content[start : start + 10_000]


@pytest.mark.direct
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
async def test_the_largest_body(
    iovox: httpx.AsyncClient, database: Database, chunked: bool
) -> None:
    padded = body("it", "DELIVERED", padding="@")
    fits = padded.replace(b"@", b"x" * (LARGEST - len(padded) + 1))
    assert len(fits) == LARGEST
    for size, sent, status in (("fits", fits, 200), ("one more", fits + b" ", 413)):
        content: Any = pieces(sent) if chunked else sent
        answer = await iovox.post("/dlr", content=content)
        assert answer.status_code == status, size
    assert answer.json()["detail"] == "A receipt has at most 65536 bytes"
    (kept,) = await kept_receipts(database, "it")
    assert kept.body == fits
    assert await rows(database) == {"receipts": 1, "deliveries": 1}


# label, body, HTTP status, fields at fault
MISUNDERSTOOD = [
    ("nothing", b"", 400, []),
    ("not JSON", b"status=DELIVERED", 400, []),
    ("cut off", GOOD[:-5], 400, []),
    ("bytes", b"\x00\xff\xfe\x80", 400, []),
    ("NaN", b'{"sms_activity_id": "x", "status": NaN}', 400, []),
    ("deep", b"[" * 30_000, 400, []),
    ("an array", b"[]", 422, ["body"]),
    ("no id", b'{"status": "DELIVERED"}', 422, ["sms_activity_id"]),
    ("no status", b'{"sms_activity_id": "x"}', 422, ["status"]),
    ("neither", b"{}", 422, ["sms_activity_id", "status"]),
    ("an id of 256", body("x" * 256, "DELIVERED"), 422, ["sms_activity_id"]),
    ("an id with NUL", body("a\x00", "DELIVERED"), 422, ["sms_activity_id"]),
    ("an id of half a pair", body("\ud800", "DELIVERED"), 422, ["sms_activity_id"]),
]


@pytest.mark.parametrize(
    ("sent", "status", "fields"), [pytest.param(*row[1:], id=row[0]) for row in MISUNDERSTOOD]
)
async def test_misunderstood_and_kept_word_for_word(
    iovox: httpx.AsyncClient, database: Database, sent: bytes, status: int, fields: list[str]
) -> None:
    before = datetime.now(UTC)
    answer = await iovox.post("/dlr", content=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    problem = answer.json()
    assert [error["field"] for error in problem.get("errors", [])] == fields
    (kept,) = await ReceiptStore(database).rejected(limit=10)
    assert (kept.arrival.body, kept.http_status, kept.replayed_at) == (sent, status, None)
    assert before <= kept.arrival.received_at <= datetime.now(UTC)
    assert str(kept.arrival.id) in problem["detail"]
    assert await rows(database) == {"rejected_receipts": 1}


PACKED = [
    ("cut off", gzip.compress(GOOD)[:-12], "gzip"),
    ("garbage", b"\x1f\x8b" + b"\x00" * 30, "gzip"),
    ("a packing that is not known", b"\x0b\x02\x80{}\x03", "br"),
]


@pytest.mark.parametrize(
    ("sent", "encoding"), [row[1:] for row in PACKED], ids=[r[0] for r in PACKED]
)
async def test_what_cannot_be_unpacked_is_kept_as_it_came(
    iovox: httpx.AsyncClient, database: Database, sent: bytes, encoding: str
) -> None:
    answer = await iovox.post("/dlr", content=sent, headers={"Content-Encoding": encoding})
    assert answer.status_code == 400
    (kept,) = await ReceiptStore(database).rejected(limit=10)
    assert kept.arrival.body == sent


@pytest.mark.parametrize("path", ["/dlr", "/dlr/"])
async def test_a_bomb_is_too_large(iovox: httpx.AsyncClient, database: Database, path: str) -> None:
    for bomb in (gzip.compress(b"x" * 50_000_000), gzip.compress(b"{}" * 40_000)):
        assert len(bomb) < 64 * 1024
        answer = await iovox.post(path, content=bomb, headers={"Content-Encoding": "gzip"})
        assert answer.status_code == 413
    assert await rows(database) == {}


async def test_a_slash_behind_the_path(
    iovox: httpx.AsyncClient, stranger: httpx.AsyncClient, database: Database
) -> None:
    assert (await stranger.post("/dlr/", content=GOOD)).status_code == 401
    assert (await iovox.post("/dlr/", content=GOOD)).status_code == 200
    assert (await iovox.post("/dlr/?from=iovox", content=GOOD)).status_code == 200
    assert (await rows(database))["receipts"] == 1
    assert (await iovox.get("/dlr/")).headers["allow"] == "POST"


WHOLE = body("7", "FAILED")
UNPACKED = {"status": "FAILED", "body": WHOLE}

# label, body, headers, what its row shows
ODD: list[tuple[str, bytes, dict[str, str], dict[str, Any]]] = [
    ("numbers", body("7", "DELIVERED", status_reason=8), {}, {"status_reason": "8"}),
    ("a number for an id", body("", "DELIVERED").replace(b'""', b"7"), {}, {"status": "DELIVERED"}),
    ("no Content-Type", body("7", "FAILED"), {}, {"status": "FAILED"}),
    ("text/plain", body("7", "FAILED"), {"Content-Type": "text/plain"}, {"status": "FAILED"}),
    (
        "a form, by its header",
        body("7", "FAILED"),
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"status": "FAILED"},
    ),
    ("small letters", body("7", "delivered"), {}, {"status": "DELIVERED"}),
    ("an unknown status", body("7", "Rerouted"), {}, {"status": "Rerouted", "status_key": 0}),
    (
        "no time",
        body("7", "DELIVERED", receipt_timestamp=None),
        {},
        {"time_quality": "received", "receipt_timestamp": None},
    ),
    (
        "30 February",
        body("7", "DELIVERED", receipt_timestamp="2020-02-30 10:00:00"),
        {},
        {"time_quality": "received", "receipt_timestamp": "2020-02-30 10:00:00"},
    ),
    (
        "the year 1",
        body("7", "DELIVERED", receipt_timestamp="0001-01-01 00:00:00"),
        {},
        {"time_quality": "exact", "at": datetime(1, 1, 1, 0, 1, 15, tzinfo=UTC)},
    ),
    (
        "the last second there is",
        body("7", "DELIVERED", receipt_timestamp="9999-12-31 23:59:59"),
        {},
        {"time_quality": "ahead", "receipt_timestamp": "9999-12-31 23:59:59"},
    ),
    ("NUL", body("7", "FAILED", delivery_status="a\x00"), {}, {"delivery_status": "a\ufffd"}),
    ("half a pair", body("7", "\udc00"), {}, {"status": "\ufffd", "status_key": 0}),
    ("an emoji", body("7", "FAILED", delivery_status="😀"), {}, {"delivery_status": "😀"}),
    ("a BOM", b"\xef\xbb\xbf" + body("7", "FAILED"), {}, {"status": "FAILED"}),
    ("UTF-16", body("7", "FAILED").decode().encode("utf-16"), {}, {"status": "FAILED"}),
    (
        "a long text",
        body("7", "FAILED", delivery_status="é" * 10_000),
        {},
        {"delivery_status": "é" * 10_000},
    ),
    ("X-Message-Id of nobody", GOOD.replace(b'"it"', b'"7"'), {"X-Message-Id": str(UUID(int=7))},
     {"message_hint": UUID(int=7)}),
    ("X-Message-Id of no use", body("7", "FAILED"), {"X-Message-Id": "7"}, {"message_hint": None}),
    ("X-Message-Id empty", body("7", "FAILED"), {"X-Message-Id": ""}, {"message_hint": None}),
    (
        "X-Message-Id not ASCII",
        body("7", "FAILED"),
        {"X-Message-Id": "\xe9"},
        {"message_hint": None},
    ),
    (
        "X-Message-Id far too long",
        body("7", "FAILED"),
        {"X-Message-Id": "f" * 8_000},
        {"message_hint": None},
    ),
    ("gzip", gzip.compress(WHOLE), {"Content-Encoding": "gzip"}, UNPACKED),
    ("gzip in two members", gzip.compress(WHOLE[:9]) + gzip.compress(WHOLE[9:]),
     {"Content-Encoding": "x-gzip"}, UNPACKED),
    ("deflate", zlib.compress(WHOLE), {"Content-Encoding": "Deflate"}, UNPACKED),
    ("deflate without a head", zlib.compress(WHOLE, wbits=-15), {"Content-Encoding": "deflate"},
     UNPACKED),
    ("gzip of deflate", gzip.compress(zlib.compress(WHOLE)),
     {"Content-Encoding": "deflate, gzip"}, UNPACKED),
    ("gzip, but it is not", WHOLE, {"Content-Encoding": "gzip"}, UNPACKED),
    ("identity", WHOLE, {"Content-Encoding": "identity"}, UNPACKED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "headers", "shown"), [pytest.param(*row[1:], id=row[0]) for row in ODD]
)
async def test_odd_but_kept(
    iovox: httpx.AsyncClient,
    database: Database,
    sent: bytes,
    headers: dict[str, str],
    shown: dict[str, Any],
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await iovox.post("/dlr", content=sent, headers=raw)
    assert answer.status_code == 200, answer.text
    async with database.read() as connection:
        row = (await connection.execute(receipts.select())).one()
    assert {name: getattr(row, name) for name in shown} == shown
    assert (row.sms_activity_id, row.body, row.times_seen) == ("7", shown.get("body", sent), 1)
    expected = row.status if row.status_key else "UNKNOWN"
    async with database.read() as connection:
        delivery = (await connection.execute(deliveries.select())).one()
    assert delivery.status == expected


async def test_the_seed_example(
    service: Service, iovox: httpx.AsyncClient, database: Database
) -> None:
    sms_activity_id = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"
    of = await known(database, sms_activity_id)
    for fields in (
        ("smsc submit", "8", "2020-05-06 18:37:37", "ACKNOWLEDGED"),
        ("delivery success", "1", "2020-05-06 18:37:46", "DELIVERED"),
    ):
        names = ("delivery_status", "status_reason", "receipt_timestamp", "status")
        receipt = {"sms_activity_id": sms_activity_id, **dict(zip(names, fields, strict=True))}
        assert (await iovox.post("/dlr", content=json.dumps(receipt))).status_code == 200
    async with service.client(bearer(service.key("read"))) as client:
        found = (await client.get(f"/v1/messages/{sms_activity_id}")).json()
        assert (await client.get(f"/v1/messages/{of.id}")).json() == found
    assert (found["status"], found["status_at"]) == ("DELIVERED", "2020-05-06T17:37:46Z")
    assert (found["final"], found["contradictory"]) == (True, False)
    submitted, acknowledged, delivered = found["history"]
    assert (submitted["status"], submitted["source"]) == ("SUBMITTED", "service")
    received_at = acknowledged.pop("received_at")
    assert received_at.endswith("Z")
    assert acknowledged == {
        "status": "ACKNOWLEDGED",
        "at": "2020-05-06T17:37:37Z",
        "source": "iovox",
        "delivery_status": "smsc submit",
        "status_reason": "8",
        "receipt_timestamp": "2020-05-06 18:37:37",
        "time_quality": "exact",
        "times_seen": 1,
    }
    assert (delivered["status"], delivered["at"]) == ("DELIVERED", "2020-05-06T17:37:46Z")
    assert await statuses_of(database, of) == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]


async def test_an_unknown_id_is_kept_and_attached_when_its_message_appears(
    service: Service, iovox: httpx.AsyncClient, database: Database
) -> None:
    assert (await iovox.post("/dlr", content=body("early", "DELIVERED", 9))).status_code == 200
    async with service.client(bearer(service.key("admin"))) as admin:
        alone = (await admin.get("/v1/messages/early")).json()
        assert (alone["id"], alone["app"], alone["status"]) == (None, None, "DELIVERED")
    async with service.client(bearer(service.key("read"))) as client:
        assert (await client.get("/v1/messages/early")).status_code == 404
        of = await known(database, "early")
        found = (await client.get("/v1/messages/early")).json()
    assert (found["id"], found["status"]) == (str(of.id), "DELIVERED")
    assert await statuses_of(database, of) == ["SUBMITTED", "DELIVERED"]


async def test_a_receipt_that_names_its_message_settles_it(
    iovox: httpx.AsyncClient, database: Database
) -> None:
    of = message()
    await MessageStore(database).add(recorded(of))
    named = {"X-Message-Id": str(of.id)}
    assert (
        await iovox.post("/dlr", content=body("it", "FAILED"), headers=named)
    ).status_code == 200
    assert await statuses_of(database, of) == ["SUBMITTED", "FAILED"]


async def test_the_same_receipt_46_times_over_20_connections(
    service: Service, database: Database
) -> None:
    of = await known(database, "it")
    host, port = service.address
    one = load.post("/dlr", CALLBACK_HEADERS, body("it", "DELIVERED"))
    result = await load.drive(host, port, [one] * 46, 20)
    assert dict(result.statuses) == {200: 46}
    (kept,) = await kept_receipts(database, "it")
    assert kept.times_seen == 46
    assert await statuses_of(database, of) == ["SUBMITTED", "DELIVERED"]


@asynccontextmanager
async def held_up(database: Database) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """No receipt is committed meanwhile; gives a function that returns once one waits for it."""

    async def is_waiting() -> None:
        waiting = text(
            "select count(*) from pg_locks where not granted and relation = 'receipts'::regclass "
            "and database = (select oid from pg_database where datname = current_database())"
        )
        async with asyncio.timeout(10), database.read() as reading:
            while not (await reading.execute(waiting)).scalar_one():  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def at_once() -> None:
        pass

    if database.is_sqlite:
        yield at_once
        return
    async with database.write() as holding:
        await holding.execute(text("lock table receipts in exclusive mode"))
        yield is_waiting


@pytest.mark.parametrize("first", ["ACKNOWLEDGED", "DELIVERED"])
async def test_acknowledged_and_delivered_in_one_batch_in_the_same_second(
    service: Service, database: Database, first: str
) -> None:
    """On PostgreSQL both wait behind a batch that a lock holds up, so that one batch takes them."""
    of = await known(database, "it")
    statuses = [first, *({"ACKNOWLEDGED", "DELIVERED"} - {first})]
    connections = [service.connect() for _ in ["another", *statuses]]
    async with held_up(database) as is_waiting:
        connections[0].sendall(load.post("/dlr", CALLBACK_HEADERS, body("another", first, 46)))
        await is_waiting()
        for connection, status in zip(connections[1:], statuses, strict=True):
            connection.sendall(load.post("/dlr", CALLBACK_HEADERS, body("it", status, 46)))
        await asyncio.sleep(MAX_WAIT / 2)
    for connection in connections:
        assert read_answer(connection).status == 200
        connection.close()
    assert len(await kept_receipts(database, "it")) == 2
    async with database.read() as reading:
        its = deliveries.select().where(deliveries.c.sms_activity_id == "it")
        delivery = (await reading.execute(its)).one()
    assert (delivery.status, delivery.status_at) == ("DELIVERED", at(46))
    in_order = ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]
    told = await statuses_of(database, of)
    assert told == (in_order if first == "ACKNOWLEDGED" else ["SUBMITTED", "DELIVERED"])
    if not database.is_sqlite:
        async with database.read() as reading:
            batches = text("select distinct xmin::text from receipts where sms_activity_id = 'it'")
            assert len((await reading.execute(batches)).all()) == 1


async def test_many_at_once_are_all_kept_and_told_in_order(
    service: Service, database: Database
) -> None:
    of = {f"id-{n}": message() for n in range(60)}
    store = MessageStore(database)
    await store.add(recorded(*of.values()))
    await store.accepted([acceptance(one, name) for name, one in of.items()])
    host, port = service.address
    for second, status in enumerate(("ACKNOWLEDGED", "BUFFERED", "DELIVERED")):
        calls = [load.post("/dlr", CALLBACK_HEADERS, body(n, status, second)) for n in of]
        result = await load.drive(host, port, calls, 16)
        assert dict(result.statuses) == {200: 60}
    log = await all_events(database)
    for one in of.values():
        told = [event.status for event in log if event.message_id == one.id]
        assert told == ["SUBMITTED", "ACKNOWLEDGED", "BUFFERED", "DELIVERED"]


async def test_a_flood_of_strangers_writes_nothing_and_says_little(
    service: Service, database: Database
) -> None:
    host, port = service.address
    before = service.process.output()
    calls = [
        load.post("/dlr", {AUTH_HEADER: f"guess-{n}"}, GOOD)
        if n % 3
        else load.request("POST", "/dlr", {}, b"{" * (n * 50))
        for n in range(600)
    ]
    result = await load.drive(host, port, calls, 20)
    assert dict(result.statuses) == {401: 600}
    assert await rows(database) == {}
    said = service.process.output()[len(before) :]
    assert len(said.splitlines()) <= 3, said
    assert "guess-" not in said


async def test_half_a_body_that_is_cut_off_is_no_news(service: Service) -> None:
    before = service.process.output()
    head = (
        f"POST /dlr HTTP/1.1\r\nHost: x\r\n{AUTH_HEADER}: {SECRET}\r\nContent-Length: 900\r\n\r\n"
    )
    for _ in range(3):
        with service.connect() as connection:
            connection.sendall(head.encode() + b'{"sms_')
    async with service.client(CALLBACK_HEADERS) as client:
        assert (await client.post("/dlr", content=body("after", "DELIVERED"))).status_code == 200
    news = service.process.output()[len(before) :].splitlines()
    assert [line for line in news if '"event": "receipt"' not in line] == []


async def test_two_requests_in_one_piece(service: Service, database: Database) -> None:
    pair = b"".join(
        load.post("/dlr", CALLBACK_HEADERS, body("it", status))
        for status in ("FAILED", "DELIVERED")
    )
    with service.connect() as connection:
        connection.sendall(pair)
        assert read_answer(connection).status == 200
        assert not hung_up(connection, within=0.3)
    assert await rows(database) == {"receipts": 2, "deliveries": 1}


async def test_a_receipt_bears_the_time_it_came(
    iovox: httpx.AsyncClient, database: Database
) -> None:
    before = datetime.now(UTC)
    await iovox.post("/dlr", content=body("it", "DELIVERED"))
    (kept,) = await kept_receipts(database, "it")
    assert before <= kept.received_at <= before + timedelta(seconds=10)


async def test_tables_are_the_ones_that_this_module_counts() -> None:
    assert {events, receipts, deliveries, rejected_receipts} <= set(metadata.sorted_tables)
