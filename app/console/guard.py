"""Guards the console's pages: sessions, the scopes that a page needs, protection from CSRF.

A browser sends the session cookie also with forms of other sites' pages. So a form carries the
session's CSRF token, and Sec-Fetch-Site or Origin must name our own site.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

import structlog
from fastapi import Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from app.console.pages import SECURITY_HEADERS, address, base, render
from app.errors import BodyTooLarge, NotAllowed, ServiceError, StoreUnavailable
from app.model.api_key import Scope, digest
from app.model.words import DATABASE_AWAY
from app.store.console_sessions import ConsoleSessionStore, Session
from app.web.caller import Caller

COOKIE = "dlr_console"
LASTS = timedelta(hours=12)
"""The lifetime of a session: a working day."""
MAX_FORM = 16 * 1024
CSRF_FIELD = "csrf"
_WITH_A_FORM = ("/keys", "/again", "/cancel", "/revoke")
"""Ends of paths whose GET shows the form of their POST; other forms are one level up."""
_NEXT_STEPS = {
    400: "Go back and try again.",
    403: "Go back, or ask for a key that may.",
    404: "Check what you typed, or search for a part of it.",
    409: "Look at the message again: its state has changed meanwhile.",
    413: "Shorten what you typed.",
    422: "Correct it and try again.",
    429: "Wait a little and try again.",
    500: "Try again. If it happens again, tell whoever runs this service.",
    503: "Receipts are being kept meanwhile.",
}

log = structlog.get_logger(__name__)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def allows(*scopes: str) -> Callable[[Endpoint], Endpoint]:
    """Any of these scopes is needed to see the page; PUBLIC is for everybody."""

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.scopes = frozenset(scopes)  # type: ignore[attr-defined]
        return endpoint

    return mark


PUBLIC = "public"
READERS = (Scope.READ, Scope.SUPPORT)


class ConsoleRoute(APIRoute):
    """A page: finds the session, checks scopes and forms, and renders errors as pages.

    An endpoint says by ``allows`` who may see it; one that says nothing is for admins.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, wrapped in these checks."""
        handle = super().get_route_handler()
        scopes = getattr(self.endpoint, "scopes", frozenset({Scope.ADMIN}))

        async def checked(request: Request) -> Response:
            try:
                request.state.form = await _form(request)
                if PUBLIC not in scopes:
                    refused = await _enter(request, scopes)
                    if refused is not None:
                        return refused
                    require_own_form(request)
                return await handle(request)
            except ServiceError as error:
                return error_page(request, error)
            except Exception as error:  # noqa: BLE001  people get a page, whatever happens
                log.error("console_failed", route=self.path, reason=type(error).__name__)
                return error_page(request, ServiceError("The failure is logged."))

        async def guarded(request: Request) -> Response:
            request.state.form = {}
            response = await checked(request)
            for name, value in SECURITY_HEADERS.items():
                response.headers.setdefault(name, value)
            return response

        return guarded


async def _enter(request: Request, scopes: Collection[str]) -> Response | None:
    """Set the state's session and caller; the sign-in page where there is none."""
    secret = request.cookies.get(COOKIE)
    sessions: ConsoleSessionStore = request.app.state.console.sessions
    session = await sessions.find(digest(secret)) if secret else None
    if session is None:
        wanted = wanted_of(request)
        if request.headers.get("hx-request"):
            return Response(status_code=401, headers={"HX-Refresh": "true"})
        if secret is None and request.method == "GET":
            return RedirectResponse(address(request, "/sign-in", next=wanted), 303)
        return sign_in_page(request, status=401, ended=True, wanted=wanted)
    request.state.session = session
    request.state.caller = caller = caller_of(session)
    if not caller.has_any(scopes):
        await request.app.state.console.recording.refused(request)
        needed = " or ".join(scope for scope in Scope if scope in scopes)
        raise NotAllowed(f"This page needs the scope {needed}; you have: {_listed(caller.scopes)}.")
    request.state.attention = await request.app.state.console.badge(caller)
    return None


def caller_of(session: Session) -> Caller:
    """The caller, as the API knows one."""
    return Caller(session.key_id or f"person:{session.person}", session.app, session.scopes)


def require_own_form(request: Request) -> None:
    """Refuse a form that did not come from a page of this session. Raises NotAllowed."""
    if request.method in ("GET", "HEAD"):
        return
    require_own_page(request)
    sent = request.state.form.get(CSRF_FIELD, "")
    if not secrets.compare_digest(sent.encode(), request.state.session.csrf.encode()):
        raise NotAllowed("Nothing was done: the page is older than your session. Load it again.")


def require_own_page(request: Request) -> None:
    """Refuse what another site's page sends. Raises NotAllowed."""
    fetch_site = request.headers.get("sec-fetch-site")
    if fetch_site is not None:
        if fetch_site not in ("same-origin", "none"):
            raise NotAllowed("Nothing was done: the form did not come from this console.")
        return
    origin = request.headers.get("origin")
    if origin is None:
        return
    hosts = {request.headers.get("host"), request.app.state.console.host}
    if urlsplit(origin).netloc not in hosts:
        raise NotAllowed("Nothing was done: the form did not come from this console.")


async def _form(request: Request) -> dict[str, str]:
    if request.method != "POST":
        return {}
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise BodyTooLarge(f"A form has at most {MAX_FORM} bytes.")
    pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=100)
    return dict(pairs)


def sign_in_page(
    request: Request,
    *,
    status: int = 200,
    ended: bool = False,
    fault: str | None = None,
    wanted: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The page to sign in on. ``wanted`` is where to go on."""
    return render(
        request,
        "sign_in.html",
        status=status,
        ended=ended,
        fault=fault,
        wanted=wanted,
        provider=request.app.state.console.provider_name,
        headers=headers,
    )


def error_page(request: Request, error: ServiceError) -> Response:
    """A page that says what was wrong and what to do, with the right status code."""
    detail, title = str(error.problem()["detail"]), error.title
    if isinstance(error, StoreUnavailable):
        title, detail = DATABASE_AWAY.title, f"{DATABASE_AWAY.means} {detail}."
    return render(
        request,
        "error.html",
        status=error.status,
        headers={name: v for name, v in error.headers.items() if name != "WWW-Authenticate"},
        title=title,
        detail=detail,
        errors=error.errors,
        next_step=_NEXT_STEPS.get(error.status, _NEXT_STEPS[500]),
        again=error.status == 503 and request.method == "GET",
        back=None if request.method == "GET" else safe_target(request, wanted_of(request)),
        q=request.query_params.get("q", "")[:300],
    )


def wanted_of(request: Request) -> str:
    """The page to go to after signing in or a failure: the one that was asked for, or that has the
    form, with what was typed into it.
    """
    path = request.url.path.removeprefix(base(request))
    query = request.url.query
    if request.method != "GET":
        typed = {name: value for name, value in request.state.form.items() if name != CSRF_FIELD}
        query = urlencode(typed)
        if not path.endswith(_WITH_A_FORM):
            path = path.rpartition("/")[0]
    return path + (f"?{query}" if query else "")


def safe_target(request: Request, wanted: str) -> str:
    """Where to go on after signing in: a page of the console and nowhere else."""
    is_ours = wanted.startswith(("/", "?")) and not wanted.startswith(("//", "/\\"))
    is_plain = is_ours and wanted.isprintable() and "\\" not in wanted
    return base(request) + wanted if is_plain else base(request)


def set_cookie(
    request: Request, response: Response, secret: str, *, name: str = COOKIE, seconds: int
) -> None:
    """Set a cookie, Secure over https: DLR_CONSOLE_URL or DLR_PUBLIC_URL tell behind a proxy."""
    response.set_cookie(
        name,
        secret,
        max_age=seconds,
        path=base(request),
        httponly=True,
        samesite="lax",
        secure=request.app.state.console.is_https or request.url.scheme == "https",
    )


def _listed(scopes: Collection[str]) -> str:
    return ", ".join(sorted(scopes)) or "none"
