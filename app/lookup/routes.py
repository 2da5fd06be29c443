"""The routes that read. The caller holds a key; another app's message does not exist to it.

The endpoints take the request alone: a lookup costs less than the framework's way of calling one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from app.auth import Authenticator, Caller, Scope, secured_router
from app.errors import FieldError, Invalid, NotAllowed, NotFound
from app.lookup.answers import (
    FOUND_ANSWERS,
    LOOKUP_BODY,
    LOOKUP_EXAMPLE,
    MESSAGE_ANSWERS,
    MOST_IDS,
    PAGE_ANSWERS,
    STATS_ANSWERS,
)
from app.lookup.cursor import cursor_after
from app.lookup.export import CSV, JSON, csv_header, csv_lines, json_lines, preferred
from app.lookup.lookups import Lookups
from app.lookup.query import PAGE, SEARCH, STATS, WAIT, chosen_statuses
from app.lookup.stats import summarise
from app.lookup.texts import json_bytes
from app.model.search import Search
from app.openapi import BODY_PROBLEMS, json_body, parameter, problems
from app.query import documented, read_query
from app.web import read_json

LONGEST_RANGE = timedelta(days=31)
USUAL_RANGE = timedelta(days=1)

_ID = parameter("id", {"type": "string"}, "Ours, or iovox's `sms_activity_id`", where="path")

_KNOWN = parameter(
    "If-None-Match",
    {"type": "string"},
    "The `ETag` of what you know: 304 as long as that is still so",
    where="header",
    example='"0f5ea1d9c8b74a2e91d36c07"',
)


def lookup_routes(*, lookups: Lookups, authenticator: Authenticator) -> APIRouter:
    """``/v1/messages`` and ``/v1/stats``, for keys with the scope ``read``."""
    router = secured_router(authenticator, Scope.READ, plain=True, tags=["look up"])

    @router.get(
        "/v1/messages",
        summary="List messages, newest first",
        responses=PAGE_ANSWERS | problems(Invalid),
        openapi_extra={"parameters": documented(SEARCH)},
    )
    async def list_messages(request: Request) -> Response:
        """By page as JSON; with `Accept: text/csv` or `application/x-ndjson`, all in one file."""
        values = read_query(request.query_params.multi_items(), SEARCH)
        search = _search(values, request.state.caller)
        kind = preferred(request.headers.get("accept"))
        if kind != JSON:
            return await _export(lookups, search, values, kind)
        page = await lookups.page(
            search, before=values.get("cursor"), limit=values.get("limit", PAGE)
        )
        cursor = cursor_after(page.next) if page.next else None
        body = {"messages": lookups.summaries(page.records), "next": cursor}
        headers = {"Vary": "Accept"} | ({"Link": _link(request, cursor)} if cursor else {})
        return Response(json_bytes(body), media_type=JSON, headers=headers)

    @router.post(
        "/v1/messages/lookup",
        summary="Look up many messages at once",
        responses=FOUND_ANSWERS | problems(*BODY_PROBLEMS, Invalid),
        openapi_extra=json_body(LOOKUP_BODY, example=LOOKUP_EXAMPLE),
    )
    async def look_up_messages(request: Request) -> Response:
        """With their histories; what is another app's is among `not_found`."""
        names = _ids(await read_json(request))
        records, missing = await lookups.find_many(names, request.state.caller.sees)
        body = {"messages": await lookups.descriptions(records), "not_found": missing}
        return Response(json_bytes(body), media_type=JSON)

    @router.get(
        "/v1/messages/{id:path}",
        summary="What became of one message",
        responses=MESSAGE_ANSWERS | problems(NotFound, Invalid),
        openapi_extra={"parameters": [_ID, *documented(WAIT), _KNOWN]},
    )
    async def look_up_message(_request: Request) -> Response:
        """By our id or by iovox's, with its whole history."""
        raise NotFound("This is answered before the framework, by MessageEndpoint")

    @router.get(
        "/v1/stats",
        summary="Count messages",
        responses=STATS_ANSWERS | problems(Invalid),
        openapi_extra={"parameters": documented(STATS)},
    )
    async def count_messages(request: Request) -> Response:
        """With the delivery rate and the times to delivery, for a range of at most 31 days."""
        values = read_query(request.query_params.multi_items(), STATS)
        app = _app(values, request.state.caller)
        start, end = _range(values)
        by = values.get("by", "status")
        counts = await lookups.counts(app=app, start=start, end=end, by=by)
        return Response(json_bytes(summarise(counts, by=by, start=start, end=end)), media_type=JSON)

    return router


async def _export(
    lookups: Lookups, search: Search, values: dict[str, Any], kind: str
) -> StreamingResponse:
    """A file of everything. What fails before the first message is a problem, as ever; what fails
    later breaks the connection off, so that half a file is never taken for a whole one.
    """
    lines = csv_lines if kind == CSV else json_lines
    every = lookups.export(search, before=values.get("cursor"), limit=values.get("limit"))
    first = await anext(every)

    async def chunks() -> AsyncIterator[bytes]:
        async with aclosing(every):
            yield (csv_header() if kind == CSV else b"") + lines(first)
            async for some in every:
                yield lines(some)

    name = "messages.csv" if kind == CSV else "messages.jsonl"
    return StreamingResponse(
        chunks(),
        media_type=f"{kind}; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Vary": "Accept"},
    )


def _search(values: dict[str, Any], caller: Caller) -> Search:
    return Search(
        app=_app(values, caller),
        statuses=chosen_statuses(values),
        overdue=values.get("overdue"),
        contradictory=values.get("contradictory"),
        destination=values.get("destination"),
        origin=values.get("origin"),
        reference=values.get("reference"),
        created_from=values.get("from"),
        created_to=values.get("to"),
        status_from=values.get("status_from"),
        status_to=values.get("status_to"),
    )


def _app(values: dict[str, Any], caller: Caller) -> str | None:
    """The app to look at, or None for all. Raises NotAllowed for whoever sees only its own."""
    if "app" in values and not caller.is_admin:
        raise NotAllowed("The parameter app needs a key with the scope admin")
    app: str | None = values.get("app", caller.sees)
    return app


def _range(values: dict[str, Any]) -> tuple[datetime, datetime]:
    end = values.get("to") or datetime.now(UTC)
    start = values.get("from") or _before(end, USUAL_RANGE)
    if end < start:
        raise _at_fault("from", "lies in the future")
    if end - start > LONGEST_RANGE:
        raise _at_fault("from", f"lies more than {LONGEST_RANGE.days} days before to")
    return start, end


def _before(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment - span
    except OverflowError:
        raise _at_fault("to", "is no time that exists") from None


def _ids(body: object) -> list[str]:
    if not isinstance(body, dict) or not isinstance(body.get("ids"), list):
        raise _at_fault("ids", f"must be a list of up to {MOST_IDS} ids")
    if unknown := [name for name in body if name != "ids"]:
        faults = tuple(FieldError(name[:100], "is not a field of this request") for name in unknown)
        raise Invalid("The request cannot be read", errors=faults)
    ids: list[Any] = body["ids"]
    if len(ids) > MOST_IDS:
        raise _at_fault("ids", f"has {len(ids)} ids; up to {MOST_IDS} are taken at once")
    wrong = [place for place, name in enumerate(ids) if not isinstance(name, str)]
    if wrong:
        faults = tuple(FieldError(f"ids.{place}", "must be text") for place in wrong)
        raise Invalid("Some ids cannot be read", errors=faults)
    return ids


def _link(request: Request, cursor: str) -> str:
    """The same list from there on, as a reference that holds behind any proxy."""
    kept = [(name, text) for name, text in request.query_params.multi_items() if name != "cursor"]
    return f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def _at_fault(field: str, why: str) -> Invalid:
    return Invalid("The request cannot be answered", errors=(FieldError(field, why),))
