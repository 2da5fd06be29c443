"""Messages: the search, the list, its CSV, and the page of one message with what can be done."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, suppress
from datetime import UTC
from hashlib import blake2b

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse

from app.console import listing
from app.console.guard import READERS, ConsoleRoute, allows
from app.console.message_view import page_of, pretty
from app.console.pages import PATH, PRIVATE, address, read_id, render
from app.console.parts import Console
from app.console.query import Query, read
from app.console.recording import actor_of
from app.console.writing import date_and_time
from app.errors import Conflict, NotFound
from app.lookup.cursor import cursor_after, read_cursor
from app.lookup.export import escape_formula
from app.lookup.lookups import Lookups
from app.lookup.responses import MessageSummary
from app.model.api_key import Scope
from app.model.london import LONDON
from app.model.numbers import as_written
from app.model.status import Status
from app.record.evidence.service import EvidenceService
from app.send.sender import Sender
from app.web.caller import Caller

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)

COLUMNS = (
    "When (London)", "When (UTC)", "To", "From", "Status", "What it means", "Reason",
    "Status since", "Reference", "App", "Our id", "iovox’s id",
)  # fmt: skip


@router.get("")
@router.get("/")
@allows(*READERS)
async def messages(request: Request) -> Response:
    """What a search finds; without one, the newest messages. One hit opens it."""
    query = _query(request)
    lookups: Lookups = request.app.state.lookups
    caller: Caller = request.state.caller
    asked = request.query_params
    if query.faults:
        return _page(request, query, None, status=422)
    cursor = asked.get("cursor")
    stays = cursor or asked.get("show") == "list"
    if query.words == query.text.strip('"') and not stays:
        found_id = await listing.by_id(lookups, query.words, caller.sees)
        if found_id is not None:
            return _open(request, found_id)
    try:
        before = read_cursor(cursor) if cursor else None
    except ValueError:
        raise NotFound("This page of the list is not there: search again.") from None
    console: Console = request.app.state.console
    await console.recording.searched(request, query.search)
    found = await listing.find(lookups, query, before=before)
    if not query.is_empty and not stays and len(found.messages) == 1 and found.next is None:
        only = found.messages[0]
        return _open(request, str(only.id), q=query.text)
    return _page(request, query, found, status=200)


@router.get("/messages.csv")
@allows(*READERS)
async def download(request: Request) -> Response:
    """All that the search finds, in the words of the page."""
    query = _query(request)
    if query.faults:
        return _page(request, query, None, status=422)
    lookups: Lookups = request.app.state.lookups
    search = query.search
    if query.otherwise is not None:
        search = (await listing.find(lookups, query, before=None)).search
    console: Console = request.app.state.console
    await console.recording.exported(request, search)
    pages = lookups.export(search, before=None, limit=None, texts=False)
    first = await anext(pages)

    async def lines() -> AsyncIterator[bytes]:
        async with aclosing(pages):
            # With a byte order mark, by which Excel recognises UTF-8.
            yield b"\xef\xbb\xbf" + _csv([COLUMNS]) + _csv(map(_row, first))
            async for page in pages:
                yield _csv(map(_row, page))

    name = {"Content-Disposition": 'attachment; filename="messages.csv"'}
    return StreamingResponse(
        lines(),
        media_type="text/csv; charset=utf-8",
        headers={**PRIVATE, **name},
    )


@router.get("/messages/{id:path}/live")
@allows(*READERS)
async def live(request: Request, id: str) -> Response:
    """The part of a message's page that changes; 204 while it is as it was."""
    return await _message(request, id, template="message_live.html", known=True)


@router.post("/messages/{id:path}/text")
@allows(*READERS)
async def show_text(request: Request, id: str) -> Response:
    """The page with the text; that it is shown is recorded in the audit first."""
    return await _message(request, id, shows_text=True)


@router.get("/messages/{id:path}/print")
@allows(*READERS)
async def case_file(request: Request, id: str) -> Response:
    """The case file, for paper, with the digest of its evidence as it is now."""
    service: EvidenceService | None = request.app.state.evidence
    fingerprint = None
    if service is not None:
        with suppress(NotFound):  # the log has nothing of it, or not yet
            data = await service.of_message(id, app=request.state.caller.sees, since=None)
            fingerprint = str(json.loads(data)["digest"])
    return await _message(request, id, template="print.html", fingerprint=fingerprint)


@router.get("/messages/{id:path}/evidence")
@allows(Scope.READ)
async def evidence(request: Request, id: str) -> Response:
    """The evidence document. It holds the text, so the download is audited as revealing it."""
    service: EvidenceService | None = request.app.state.evidence
    if service is None:
        raise Conflict("There is no evidence log: DLR_EVIDENCE_KEY_FILE is not set.")
    console: Console = request.app.state.console
    data = await service.of_message(id, app=request.state.caller.sees, since=None)
    await console.recording.looked(request, [id], revealed=True)
    name = {"Content-Disposition": 'attachment; filename="evidence.json"'}
    return Response(data, media_type="application/json", headers={**PRIVATE, **name})


@router.get("/messages/{id:path}/again")
@allows(Scope.SEND)
async def ask_again(request: Request, id: str) -> Response:
    """Asks once before a second text goes out."""
    return await _message(request, id, template="confirm.html", action="again")


@router.post("/messages/{id:path}/again")
@allows(Scope.SEND)
async def send_again(request: Request, id: str) -> Response:
    """Sends the text once more, as a new message, and shows that one."""
    sender: Sender = request.app.state.sender
    caller: Caller = request.state.caller
    sender.rates.take(caller.key_id)
    result = await sender.resend(
        caller.app, caller.changes, read_id(id), None, actor=actor_of(request)
    )
    _forget_badges(request)
    return RedirectResponse(
        address(request, f"/messages/{result.submitted.message_id}", done="again"), 303
    )


@router.get("/messages/{id:path}/cancel")
@allows(Scope.SEND)
async def ask_cancel(request: Request, id: str) -> Response:
    """Asks once before a message is taken back."""
    return await _message(request, id, template="confirm.html", action="cancel")


@router.post("/messages/{id:path}/cancel")
@allows(Scope.SEND)
async def cancel(request: Request, id: str) -> Response:
    """Takes a message back that is still here."""
    sender: Sender = request.app.state.sender
    caller: Caller = request.state.caller
    await sender.cancel(caller.changes, read_id(id), actor=actor_of(request))
    _forget_badges(request)
    return RedirectResponse(address(request, f"/messages/{id}", done="cancel"), 303)


@router.get("/messages/{id:path}")
@allows(*READERS)
async def message(request: Request, id: str) -> Response:
    """What became of a message."""
    return await _message(request, id)


async def _message(
    request: Request,
    id: str,
    *,
    template: str = "message.html",
    shows_text: bool = False,
    known: bool = False,
    action: str | None = None,
    fingerprint: str | None = None,
) -> Response:
    lookups: Lookups = request.app.state.lookups
    console: Console = request.app.state.console
    caller: Caller = request.state.caller
    record = await lookups.find(id, caller.sees)
    described = lookups.description(record, texts=shows_text)
    own = record.message
    name = record.sms_activity_id
    said = await console.verbatim.receipt_bodies(name) if name else ()
    told = await console.verbatim.webhook_deliveries(own.id) if own else ()
    told = [one for one in told if caller.sees is None or one.app == caller.sees]
    page = page_of(record, described, said, now=request.app.state.console.now())
    changes = own is not None and caller.has_any({Scope.SEND}) and caller.changes in (None, own.app)
    if action == "again" and described.status in (Status.QUEUED, Status.SENDING):
        raise Conflict(f"It is {described.status}: it has not been sent yet, so not again either.")
    if action == "cancel" and described.status != Status.QUEUED:
        raise Conflict(f"Only what waits here can be cancelled; it is {described.status}.")
    state = repr(
        (
            described.model_dump_json(),
            [one.delivery for one in told],
            [(one.delivery.state, one.delivery.attempts) for one in told],
        )
    )
    version = blake2b(state.encode("utf-8", "replace"), digest_size=8).hexdigest()
    if known and request.query_params.get("known") == version:
        return Response(status_code=204)
    await console.recording.looked(request, [own.id if own else id], revealed=shows_text)
    return render(
        request,
        template,
        page=page,
        message=described,
        told=told,
        id=str(own.id) if own else record.sms_activity_id,
        can_change=changes,
        can_resend=changes and described.status not in (Status.QUEUED, Status.SENDING),
        can_cancel=changes and described.status == Status.QUEUED,
        can_evidence=request.app.state.evidence is not None and caller.has_any({Scope.READ}),
        fingerprint=fingerprint,
        has_evidence=request.app.state.evidence is not None,
        text=own.request.text if shows_text and own else None,
        known=version,
        done=request.query_params.get("done"),
        back=request.query_params.get("q", "")[:300],
        place="Messages",
        pretty=pretty,
        action=action,
        is_live=not described.final,
        q=request.query_params.get("q", "")[:300],
    )


def _page(request: Request, query: Query, found: listing.Found | None, *, status: int) -> Response:
    console: Console = request.app.state.console
    following = cursor_after(found.next) if found and found.next else None
    number = query.number if found and found.search == query.search else None
    return render(
        request,
        "messages.html",
        status=status,
        query=query,
        q=query.text,
        found=found,
        number=number,
        next=following and address(request, "", q=query.text, cursor=following),
        is_first=not request.query_params.get("cursor"),
        csv=address(request, "/messages.csv", q=query.text),
        words_for=listing.words_for,
        keep_days=console.keep_days,
        sees_all=request.state.caller.sees is None,
        place="Messages",
    )


def _query(request: Request) -> Query:
    caller: Caller = request.state.caller
    return read(
        request.query_params.get("q", ""),
        app=caller.sees,
        region=request.app.state.default_region,
        now=request.app.state.console.now(),
    )


def _open(request: Request, id: str, q: str | None = None) -> Response:
    return RedirectResponse(address(request, f"/messages/{id}", q=q), 303)


def _forget_badges(request: Request) -> None:
    console: Console = request.app.state.console
    console.forget_badges()


def _row(message: MessageSummary) -> Sequence[str]:
    words = listing.words_for(message)
    at = message.created_at
    cells = (
        f"{at.astimezone(LONDON):%Y-%m-%d %H:%M:%S}" if at else "",
        f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else "",
        as_written(message.destination) if message.destination else "",
        as_written(message.origin) if message.origin else "",
        words.label,
        words.means,
        message.reason or "",
        date_and_time(message.status_at, message.status_at) if message.status_at else "",
        message.reference or "",
        message.app or "",
        str(message.id or ""),
        message.sms_activity_id or "",
    )
    return [escape_formula(cell) for cell in cells]


def _csv(rows: object) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue().encode()
