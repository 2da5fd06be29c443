"""Exports: complete, streamed, and safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Unavailable
from app.lookup.export import COLUMNS, CSV, JSON, JSON_LINES, csv_header, csv_lines, negotiate
from app.lookup.lookups import BATCH_SIZE
from app.lookup.responses import MessageSummary
from app.model.search import Search
from app.model.status import Status
from tests.lookup.world import NOW, World, all_pages, faults

MESSAGES = 2 * BATCH_SIZE + 7


async def _filled(world: World, app: str, count: int) -> None:
    if app in world.clients:
        return
    await world.add_key(app, "read")
    for place in range(count):
        created_at = NOW - timedelta(seconds=place)
        status = Status.QUEUED if place % 2 else Status.SENDING
        await world.message(status, app=app, created_at=created_at, reference=f"order {place}")


@pytest.mark.asyncio(loop_scope="module")
async def test_json_lines_are_the_list(world: World) -> None:
    await _filled(world, "exporting", MESSAGES)
    client = world.as_app("exporting")
    response = await client.get("/v1/messages", headers={"Accept": "application/x-ndjson"})
    assert response.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines == await all_pages(client, {}, limit=500)
    assert len(lines) == MESSAGES


@pytest.mark.asyncio(loop_scope="module")
async def test_csv_is_the_list(world: World) -> None:
    await _filled(world, "exporting", MESSAGES)
    client = world.as_app("exporting")
    response = await client.get("/v1/messages?status=QUEUED", headers={"Accept": "text/csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"] == 'attachment; filename="messages.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    listed = await all_pages(client, {"status": "QUEUED"}, limit=500)
    assert [row["id"] for row in rows] == [one["id"] for one in listed]
    assert set(COLUMNS) == set(listed[0]), "every field has its column"
    assert rows[0]["final"] == "false"
    assert rows[0]["expiry"] == ""


@pytest.mark.asyncio(loop_scope="module")
async def test_a_limit_and_a_cursor_hold_for_files_too(world: World) -> None:
    await _filled(world, "exporting", MESSAGES)
    client = world.as_app("exporting")
    page = (await client.get("/v1/messages?limit=3")).json()
    rest = await client.get(
        "/v1/messages", params={"cursor": page["next"], "limit": 400}, headers={"Accept": CSV}
    )
    everything = await all_pages(client, {}, limit=500)
    rows = list(csv.DictReader(io.StringIO(rest.text, newline="")))
    assert [row["id"] for row in rows] == [one["id"] for one in everything[3:403]]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_is_a_file_with_a_header(world: World) -> None:
    ask = world.as_app("billing").get
    empty = {"reference": "of nothing"}
    as_csv = await ask("/v1/messages", params=empty, headers={"Accept": CSV})
    as_lines = await ask("/v1/messages", params=empty, headers={"Accept": JSON_LINES})
    assert (as_csv.content, as_lines.content) == (csv_header(), b"")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_wrong_is_told_before_a_file_begins(world: World) -> None:
    response = await world.as_app("billing").get("/v1/messages?from=x", headers={"Accept": CSV})
    assert "from" in faults(response)


@pytest.mark.asyncio(loop_scope="module")
async def test_another_apps_messages_are_in_no_file(world: World) -> None:
    await _filled(world, "exporting", MESSAGES)
    response = await world.as_app("shipping").get("/v1/messages", headers={"Accept": CSV})
    assert "order" not in response.text


@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_read_and_made_in_pieces(world: World) -> None:
    await _filled(world, "exporting", MESSAGES)
    pieces = [
        len(piece)
        async for piece in world.service.runtime.lookups.export(
            Search(app="exporting"), before=None, limit=None, texts=True
        )
    ]
    assert sum(pieces) == MESSAGES
    assert max(pieces) == BATCH_SIZE


@pytest.mark.asyncio(loop_scope="module")
async def test_half_a_file_is_never_taken_for_a_whole_one(own_world: World) -> None:
    """When we shut down the connection breaks off, rather than end as if that were all."""
    await _filled(own_world, "exporting", BATCH_SIZE + 1)
    lookups = own_world.service.runtime.lookups
    pieces = lookups.export(Search(app="exporting"), before=None, limit=None, texts=True)
    assert len(await anext(pieces)) == BATCH_SIZE
    own_world.service.runtime.end_streams()
    with pytest.raises(Unavailable, match="not complete"):
        await anext(pieces)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+44 7700", "'+44 7700"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\r=x", "'\r=x"),
        ("\n=x", "'\n=x"),
        ("＝1", "'＝1"),  # noqa: RUF001  the wide form is what is tested
        ("1=1", "1=1"),
        ("'quoted'", "'quoted'"),
        ('say "hi", twice\r\n', 'say "hi", twice\r\n'),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert _read(csv_lines([_row(message=text, reference=text)])) == [(cell, cell)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_every_text_comes_back(texts: list[str]) -> None:
    rows = _read(csv_lines([_row(message=text, reference=None) for text in texts]))
    assert [row[0].removeprefix("'") for row in rows] == [text.removeprefix("'") for text in texts]
    assert not any(row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for row in rows)


IDS = [str(UUID(int=1)), str(UUID(int=2))]


def test_a_refusal_fits_in_a_cell() -> None:
    errors = [{"field": "a", "message": "is bad"}, {"field": "b", "message": "too"}]
    line = csv_lines([_row(errors=errors, resent_as=IDS, final=True, expiry=3)]).decode()
    assert line.endswith(f"{IDS[0]}; {IDS[1]},,a: is bad; b: too,\r\n")
    assert ",3," in line
    assert ",true," in line


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("text/csv", CSV),
        ("TEXT/CSV; header=present", CSV),
        ("text/*", CSV),
        ("application/x-ndjson", JSON_LINES),
        ("application/jsonl", JSON_LINES),
        ("text/csv, */*", CSV),
        ("*/*, text/csv", CSV),
        ("text/csv;q=0.5, application/json", JSON),
        ("text/csv;q=0.5, */*", JSON),
        ("text/csv;q=0", JSON),
        ("text/csv;q=many", JSON),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", JSON),
        (",;q=,text/csv", CSV),
        ("application/json;q=0, */*", CSV),
        ("application/*;q=0, */*", CSV),
        ("application/json;q=0, application/*", JSON_LINES),
        ("*/*;q=0, text/csv", CSV),
        ("*/*;q=0, application/json", JSON),
        ("application/json;q=0", JSON),
    ],
)
def test_who_asks_for_what(accept: str | None, kind: str) -> None:
    assert negotiate(accept) == kind


def _row(**cells: object) -> MessageSummary:
    flags = dict.fromkeys(("final", "contradictory", "overdue"), False)
    lists: dict[str, object] = {"resent_as": [], "errors": []}
    status = {"status": "QUEUED", "webhooks": {"delivered": 0, "pending": 0, "failed": 0}}
    return MessageSummary.model_validate(
        {**dict.fromkeys(COLUMNS), **flags, **lists, **status, **cells}
    )


def _read(lines: bytes) -> list[tuple[str, str]]:
    places = COLUMNS.index("message"), COLUMNS.index("reference")
    rows = csv.reader(io.StringIO(lines.decode(), newline=""))
    return [(row[places[0]], row[places[1]]) for row in rows]
