"""Renders the console's pages. The templates escape all values (Jinja2's autoescape).

The Content-Security-Policy allows scripts, styles and images from this origin, and none inline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.console import writing
from app.errors import NotFound
from app.model.api_key import Scope
from app.web.caller import Caller

PATH = "/console"
SECURITY_HEADERS: Mapping[str, str] = {  # beside those of app.web.security
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}
PRIVATE = {"Cache-Control": "no-store"}
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class Place:
    """An entry of the navigation."""

    name: str
    path: str
    scopes: frozenset[str] = frozenset()


_READS = frozenset({Scope.READ, Scope.SUPPORT})
PLACES = (
    Place("Messages", "", _READS),
    Place("Attention", "/attention", _READS),
    Place("Overview", "/overview", _READS),
    Place("Webhooks", "/webhooks", _READS),
    Place("Keys", "/keys", frozenset({Scope.ADMIN})),
    Place("Audit", "/audit", frozenset({Scope.ADMIN})),
)


@cache
def static(name: str) -> tuple[bytes, str]:
    """A file of ours and its media type. Raises NotFound."""
    if name not in _TYPES:
        raise NotFound("There is nothing at this path")
    return files("app.console").joinpath("static", name).read_bytes(), _TYPES[name]


@cache
def _version(name: str) -> str:
    return blake2b(static(name)[0], digest_size=6).hexdigest()


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("app.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= writing.FILTERS
    made.globals["version"] = _version
    return made


def read_id(text: str) -> UUID:
    """An id of ours that stands in an address. Raises NotFound."""
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("There is nothing with this id.") from None


def base(request: Request) -> str:
    """The path of the console, with the prefix that a proxy strips (ASGI's root_path)."""
    prefix: str = request.scope.get("root_path", "")
    return prefix.rstrip("/") + PATH


def address(request: Request, path: str, **parameters: str | None) -> str:
    """The address of a page, with the parameters that are set."""
    given = {name: value for name, value in parameters.items() if value}
    return f"{base(request)}{quote(path)}" + (f"?{urlencode(given)}" if given else "")


def render(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response:
    """A page for whoever is signed in, or for nobody."""
    state = request.state
    caller: Caller | None = getattr(state, "caller", None)
    session = getattr(state, "session", None)
    root = base(request)
    everything: dict[str, Any] = {
        "root": root,
        "caller": caller,
        "csrf": session.csrf if session else "",
        "places": [place for place in PLACES if caller and caller.has_any(place.scopes)],
        "attention": getattr(state, "attention", None),
        "q": "",
        "now": request.app.state.console.now(),
        "place": None,
        **context,
    }
    html = _environment().get_template(template).render(everything)
    policy = policy_of(request)
    return HTMLResponse(
        html,
        status_code=status,
        headers={**SECURITY_HEADERS, **policy, **PRIVATE, **(headers or {})},
    )


def policy_of(request: Request) -> dict[str, str]:
    """The policy where there is a provider: signing out redirects a form to it (form-action)."""
    provider = request.app.state.console.provider
    if provider is None:
        return {}
    name = "Content-Security-Policy"
    allowed = f"form-action 'self' {provider.origin}"
    return {name: SECURITY_HEADERS[name].replace("form-action 'self'", allowed)}
