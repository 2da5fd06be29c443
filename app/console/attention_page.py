"""The page "Attention": every kind of trouble, with what can be done about it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.console import listing
from app.console.attention import SHOWN
from app.console.guard import READERS, ConsoleRoute, allows
from app.console.pages import PATH, address, render
from app.console.parts import Console
from app.console.recording import actor_of
from app.model.api_key import Scope
from app.model.words import words_of
from app.receive.rejected import replay
from app.web.caller import Caller

REPLAYED = 1_000
"""Rejected calls that one click puts through again."""

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)


@router.get("/attention")
@allows(*READERS)
async def attention(request: Request) -> Response:
    """All of it."""
    console: Console = request.app.state.console
    caller: Caller = request.state.caller
    needing = await console.attention.all(caller)
    request.state.attention = needing.kinds
    if needing.rejected:
        await console.recording.saw_rejected(request)
    return render(
        request,
        "attention.html",
        needing=needing,
        shown=SHOWN,
        words_for=listing.words_for,
        words_for_status=words_of,
        can_send=caller.has_any({Scope.SEND}),
        sees_all=caller.sees is None,
        done=request.query_params.get("done"),
        stored=request.query_params.get("stored"),
        tried=request.query_params.get("tried"),
        place="Attention",
    )


@router.post("/attention/replay-rejected")
@allows(Scope.ADMIN)
async def replay_rejected(request: Request) -> Response:
    """Put rejected calls through again: what is understood now is stored."""
    outcome = await replay(request.app.state.rejected, limit=REPLAYED, actor=actor_of(request))
    request.app.state.console.forget_badges()
    return RedirectResponse(
        address(
            request,
            "/attention",
            done="replayed",
            tried=str(outcome.tried),
            stored=str(outcome.stored),
        ),
        303,
    )
