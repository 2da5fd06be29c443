"""The lookup routes. Callers are authenticated; another app's messages are not found."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Header, Path, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.errors import FieldError, Invalid, NotAllowed, NotFound
from app.lookup.cursor import cursor_after, cursor_of_id
from app.lookup.export import CSV, JSON, JSON_LINES, csv_header, csv_lines, json_lines, negotiate
from app.lookup.lookups import Lookups
from app.lookup.requests import (
    DEFAULT_PAGE_SIZE,
    LookupRequest,
    MessageFilters,
    Revealing,
    StatsQuery,
    UnmatchedQuery,
    WaitQuery,
)
from app.lookup.responses import FoundMessages, Message, MessagePage, Stats, UnmatchedPage
from app.lookup.stats import summarise
from app.model.message import Record
from app.model.search import Search
from app.record.audit import Auditor
from app.web.actor import actor_of
from app.web.body import KIB, body_limit
from app.web.caller import Caller, ReadCaller, SupportCaller, require_valid_key
from app.web.faults import printable
from app.web.paths import ANY_MESSAGE_ID
from app.web.problems import BODY_ERRORS, Responses, headers, problems
from app.web.routing import direct_router
from app.web.state import from_state

MAX_RANGE = timedelta(days=31)
AUTUMN_HOUR = timedelta(hours=1)
"""London's October has 31 days and an hour."""
DEFAULT_RANGE = timedelta(days=1)
CACHE_CONTROL = "private, no-cache"

router = direct_router("look up")


TheLookups = Annotated[Lookups, from_state("lookups")]
TheAuditor = Annotated[Auditor, from_state("auditor")]

_PAGE: Responses = {
    200: {
        "description": f"A page, of at most {DEFAULT_PAGE_SIZE} unless `limit` says otherwise; or, "
        "by `Accept`, a file of all. Text that a spreadsheet would take for a formula is prefixed "
        "with '",
        "headers": headers("Link", "Vary", "Content-Disposition"),
        "content": {CSV: {}, JSON_LINES: {}},
    }
}
_MESSAGE: Responses = {
    200: {"description": "The message with its history", "headers": headers("ETag")},
    304: {"description": "Not modified", "headers": headers("ETag")},
}


@router.get(
    f"/v1/messages/{{id:{ANY_MESSAGE_ID}}}",
    summary="Look up one message",
    response_model=Message,
    responses=_MESSAGE | problems(NotFound),
)
async def look_up_message(
    id: Annotated[str, Path(description="Ours, or iovox's `sms_activity_id`")],
    query: Annotated[WaitQuery, Query()],
    caller: ReadCaller,
    request: Request,
    if_none_match: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            description="The `ETag` of your copy: 304 while it is current",
        ),
    ] = None,
) -> Response:
    """By our id or by iovox's, with its whole history."""
    if if_none_match is not None:  # of several lines of the header the framework takes one
        if_none_match = ", ".join(request.headers.getlist("If-None-Match"))
    lookups: Lookups = request.app.state.lookups  # as a dependency it costs 6 % of a lookup
    texts = _shows_texts(query, caller)
    record = await lookups.find(id, caller.sees)
    if caller.is_person:
        revealed = texts and caller.hides_texts
        auditor: Auditor = request.app.state.auditor
        await auditor.looked(actor_of(request), _ids([record]), revealed=revealed)
    response = _message(lookups.description(record, texts=texts), if_none_match)
    if query.wait and not record.final and (if_none_match is None or response.status_code == 304):
        await lookups.wait_for_change(record, query.wait, caller=caller.key_id)
        await require_valid_key(request)  # it may have been revoked meanwhile
        record = await lookups.find(id, caller.sees)
        response = _message(lookups.description(record, texts=texts), if_none_match)
    return response


@router.get(
    "/v1/messages",
    summary="List messages, newest first",
    response_model=MessagePage,
    responses=_PAGE | problems(),
)
async def list_messages(
    filters: Annotated[MessageFilters, Query()],
    caller: ReadCaller,
    lookups: TheLookups,
    auditor: TheAuditor,
    request: Request,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """By page as JSON; with `Accept: text/csv` or `application/x-ndjson`, all in one file."""
    search = _search(filters, caller)
    texts = _shows_texts(filters, caller)
    kind = negotiate(accept)
    revealed = texts and caller.hides_texts
    if kind != JSON:
        if caller.is_person:
            await auditor.exported(
                actor_of(request), search, kind=kind, limit=filters.limit, revealed=revealed
            )
        return await _export(lookups, search, filters, kind, texts=texts)
    if caller.is_person:
        await auditor.searched(actor_of(request), search)
    found = await lookups.page(
        search, before=filters.cursor, limit=filters.limit or DEFAULT_PAGE_SIZE
    )
    if revealed:
        await auditor.revealed(actor_of(request), _ids(found.records))
    cursor = cursor_after(found.next) if found.next else None
    page = MessagePage(messages=lookups.summaries(found.records, texts=texts), next=cursor)
    link = {"Link": _link(request, cursor)} if cursor else {}
    return Response(page.model_dump_json(), media_type=JSON, headers={"Vary": "Accept", **link})


@router.post(
    "/v1/messages/lookup",
    summary="Look up many messages at once",
    response_model_exclude_unset=True,
    responses=problems(*BODY_ERRORS),
)
@body_limit(512 * KIB)
async def look_up_messages(
    wanted: LookupRequest,
    query: Annotated[Revealing, Query()],
    caller: ReadCaller,
    lookups: TheLookups,
    auditor: TheAuditor,
    request: Request,
) -> FoundMessages:
    """With their histories; what is another app's is among `not_found`."""
    records, missing = await lookups.find_many(wanted.ids, caller.sees)
    not_found = [printable(name) for name in missing]
    texts = _shows_texts(query, caller)
    if caller.is_person:
        revealed = texts and caller.hides_texts
        await auditor.looked(actor_of(request), _ids(records), revealed=revealed)
    messages = await lookups.descriptions(records, texts=texts)
    return FoundMessages(messages=messages, not_found=not_found)


@router.get("/v1/stats", summary="Count messages", responses=problems())
async def count_messages(
    query: Annotated[StatsQuery, Query()], caller: ReadCaller, lookups: TheLookups
) -> Stats:
    """With the delivery rate and the times to delivery, for a range of at most 31 days."""
    start, end = _range(query)
    app = _app(query.app, caller)
    counts = await lookups.counts(app=app, start=start, end=end, by=query.by)
    return summarise(counts, by=query.by, start=start, end=end)


@router.get(
    "/v1/receipts/unmatched",
    summary="Ids known from receipts alone, newest first",
    responses=problems(),
)
async def list_unmatched(
    query: Annotated[UnmatchedQuery, Query()], _caller: SupportCaller, lookups: TheLookups
) -> UnmatchedPage:
    """Receipts whose message this service does not know, by when the first of each id came. An id
    leaves the list when its message appears.
    """
    found = await lookups.unmatched(before=query.cursor, limit=query.limit)
    if found is None:
        raise _at_fault("cursor", "is not a cursor of ours")
    full = len(found) == query.limit
    return UnmatchedPage(
        unmatched=found, next=cursor_of_id(found[-1].sms_activity_id) if full else None
    )


def _message(message: Message, if_none_match: str | None) -> Response:
    """The message with its ETag, a digest of the body; or 304 if the caller has that one."""
    body = message.model_dump_json(exclude_unset=True).encode()
    etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    tags = {"ETag": etag, "Cache-Control": CACHE_CONTROL}
    if if_none_match is not None and _matches(etag, if_none_match):
        return Response(status_code=304, headers=tags)
    return Response(body, media_type=JSON, headers=tags)


def _matches(etag: str, header: str) -> bool:
    known = [part.strip().removeprefix("W/") for part in header.split(",")]
    return etag in known or known == ["*"]


async def _export(
    lookups: Lookups, search: Search, filters: MessageFilters, kind: str, *, texts: bool
) -> StreamingResponse:
    """A streamed file of all matches. An error before the first batch is a problem response; one
    after it aborts the connection, so that an incomplete file cannot pass for a complete one.
    """
    lines = csv_lines if kind == CSV else json_lines
    every = lookups.export(search, before=filters.cursor, limit=filters.limit, texts=texts)
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


def _search(filters: MessageFilters, caller: Caller) -> Search:
    return Search(
        app=_app(filters.app, caller),
        statuses=filters.statuses(),
        overdue=filters.overdue,
        contradictory=filters.contradictory,
        destination=filters.destination,
        origin=filters.origin,
        reference=filters.reference,
        created_from=filters.from_,
        created_to=filters.to,
        status_from=filters.status_from,
        status_to=filters.status_to,
    )


def _app(app: str | None, caller: Caller) -> str | None:
    """The app to filter by, or None for all. Raises NotAllowed for ``app`` unless all are seen."""
    if app is None:
        return caller.sees
    if caller.sees is not None:
        raise NotAllowed("The parameter app needs a key with the scope support or admin")
    return app


def _shows_texts(query: Revealing, caller: Caller) -> bool:
    return query.reveal == "text" or not caller.hides_texts


def _ids(records: Sequence[Record]) -> list[UUID | str]:
    """What the audit calls them: our ids, and iovox's where there are no others."""
    return [one.message.id if one.message else one.sms_activity_id or "" for one in records]


def _range(query: StatsQuery) -> tuple[datetime, datetime]:
    end = query.to or datetime.now(UTC)
    start = query.from_ or _before(end, DEFAULT_RANGE)
    if end < start:
        raise _at_fault("from", "lies in the future")
    if end - start > MAX_RANGE + AUTUMN_HOUR:
        raise _at_fault("from", f"lies more than {MAX_RANGE.days} days before to")
    return start, end


def _before(moment: datetime, span: timedelta) -> datetime:
    try:
        return moment - span
    except OverflowError:
        raise _at_fault("to", "is no time that exists") from None


def _link(request: Request, cursor: str) -> str:
    """The Link header of the next page; a relative reference, which works behind any proxy."""
    kept = [(name, text) for name, text in request.query_params.multi_items() if name != "cursor"]
    return f'<{request.url.path}?{urlencode([*kept, ("cursor", cursor)])}>; rel="next"'


def _at_fault(field: str, why: str) -> Invalid:
    return Invalid("The request cannot be answered", errors=(FieldError(field, why),))
