"""All routes of the console, under /console. Nobody is trusted before the session is found."""

from __future__ import annotations

from fastapi import APIRouter, Response

from app.console.admin_pages import router as admin
from app.console.attention_page import router as attention
from app.console.guard import PUBLIC, READERS, ConsoleRoute, allows
from app.console.messages import router as messages
from app.console.overview import router as overview
from app.console.pages import FOR_EVER, PATH, static
from app.console.signing_in import router as signing_in
from app.console.webhook_pages import router as webhooks
from app.errors import NotFound

_files = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)
_others = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)


@_files.get("/static/{name}")
@allows(PUBLIC)
async def static_file(name: str) -> Response:
    """A style, a script or the icon; its address changes with it."""
    content, media_type = static(name)
    return Response(content, media_type=media_type, headers=FOR_EVER)


@_others.api_route("/{path:path}", methods=["GET", "POST"])
@allows(*READERS)
async def nothing(path: str) -> Response:
    """Any other path: a page that says so."""
    raise NotFound(f"There is no page at “{path[:100]}”.")


routers = (_files, signing_in, messages, attention, overview, webhooks, admin, _others)
"""In the order of matching: the last one takes every other path."""
