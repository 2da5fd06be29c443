"""Signing in by API key, and out. Whoever calls is a stranger until the key is found."""

from __future__ import annotations

import secrets
from datetime import timedelta

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.console.guard import (
    COOKIE,
    LASTS,
    PUBLIC,
    READERS,
    ConsoleRoute,
    allows,
    caller_of,
    require_own_page,
    safe_target,
    set_cookie,
    sign_in_page,
)
from app.console.pages import PATH, address, base
from app.console.parts import Console
from app.console.recording import actor_of
from app.errors import NotAllowed, NotAuthenticated, NotFound, TooManyRequests
from app.model.api_key import digest
from app.model.audit import Action
from app.store.console_sessions import Session, SignIn
from app.web.actor import address_of
from app.web.caller import Authenticator

MAX_KEY = 200
BACK = "/sign-in/back"
STATE_COOKIE = "dlr_console_state"
AWAY = timedelta(minutes=10)
"""How long people may take to sign in at their provider."""

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)


@router.get("/sign-in")
@allows(PUBLIC)
async def show_sign_in(request: Request) -> Response:
    """The form."""
    return sign_in_page(request, wanted=request.query_params.get("next", "")[:500])


@router.post("/sign-in")
@allows(PUBLIC)
async def sign_in(request: Request) -> Response:
    """Sign in with a key that may read. The session gets a new id, which prevents its fixation."""
    require_own_page(request)
    console: Console = request.app.state.console
    form = request.state.form
    wanted = form.get("next", "")[:500]
    key = form.get("key", "").strip()
    if not key or len(key) > MAX_KEY:
        fault = "Paste your API key: it begins with dlr_." if not key else "That is no API key."
        return sign_in_page(request, status=422, wanted=wanted, fault=fault)
    authenticator: Authenticator = request.app.state.authenticator
    try:
        caller = await authenticator.find(f"Bearer {key}", lambda: address_of(request))
    except TooManyRequests as error:
        wait = error.headers.get("Retry-After", "60")
        return sign_in_page(
            request,
            status=429,
            wanted=wanted,
            fault=f"Too many wrong keys came from here. Try again in {wait} seconds.",
            headers=error.headers,
        )
    except NotAuthenticated:
        console.recording.failed(request)
        fault = "This key is not known, or it is revoked. Check that all of it was pasted."
        return sign_in_page(request, status=401, wanted=wanted, fault=fault)
    if not caller.has_any(READERS):
        fault = (
            "This key may not look anything up: it needs the scope read, support or admin, and has "
            f"{', '.join(sorted(caller.scopes))}."
        )
        return sign_in_page(request, status=403, wanted=wanted, fault=fault)
    session = Session(
        csrf=secrets.token_urlsafe(24),
        key_id=caller.key_id,
        person=None,
        app=caller.app,
        scopes=caller.scopes,
        expires_at=request.app.state.console.now() + LASTS,
    )
    return await begin(request, session, wanted)


async def begin(request: Request, session: Session, wanted: str) -> Response:
    """Begin a session and go to the page that was wanted. An older session of the cookie ends."""
    console: Console = request.app.state.console
    if before := request.cookies.get(COOKIE):
        await console.sessions.end(digest(before))
    secret = secrets.token_urlsafe(32)
    request.state.session, request.state.caller = session, caller_of(session)
    await console.recording.signed(actor_of(request), Action.SIGN_IN)
    await console.sessions.begin(digest(secret), session)
    response = RedirectResponse(safe_target(request, wanted), 303)
    set_cookie(request, response, secret, seconds=int(LASTS.total_seconds()))
    return response


@router.get("/sign-in/provider")
@allows(PUBLIC)
async def go_to_provider(request: Request) -> Response:
    """Redirect to the provider; nonce and verifier are kept in the database until they are back."""
    console: Console = request.app.state.console
    if console.provider is None:
        raise NotFound("No provider is configured: sign in with an API key.")
    authorization = await console.provider.authorization_request(console.absolute(request, BACK))
    sign_in_of = SignIn(
        nonce=authorization.nonce,
        verifier=authorization.verifier,
        wanted=request.query_params.get("next", "")[:500],
    )
    until = request.app.state.console.now() + AWAY
    await console.sessions.begin_sign_in(digest(authorization.state), sign_in_of, until)
    response = RedirectResponse(authorization.url, 303)
    seconds = int(AWAY.total_seconds())
    # The state must come back in the same browser, which prevents login CSRF by a stolen code.
    set_cookie(request, response, authorization.state, name=STATE_COOKIE, seconds=seconds)
    return response


@router.get(BACK)
@allows(PUBLIC)
async def back_from_provider(request: Request) -> Response:
    """The redirect URI: exchange the code for who they are, and begin a session."""
    console: Console = request.app.state.console
    asked = request.query_params
    state = asked.get("state", "")
    is_same = secrets.compare_digest(state, request.cookies.get(STATE_COOKIE, "") or "-")
    left = await console.sessions.take_sign_in(digest(state)) if state and is_same else None
    if console.provider is None or left is None:
        fault = "This sign-in is not known, or too old. Try again."
        return sign_in_page(request, status=401, fault=fault)
    if "code" not in asked:
        fault = f"The provider did not sign you in ({asked.get('error', 'no reason')[:60]})."
        return sign_in_page(request, status=401, fault=fault, wanted=left.wanted)
    try:
        person = await console.provider.redeem(
            code=asked["code"],
            redirect_uri=console.absolute(request, BACK),
            nonce=left.nonce,
            verifier=left.verifier,
        )
    except (NotAuthenticated, NotAllowed) as error:
        console.recording.failed(request)
        return sign_in_page(request, status=error.status, fault=error.detail, wanted=left.wanted)
    session = Session(
        csrf=secrets.token_urlsafe(24),
        key_id=None,
        person=person.name,
        app=person.name,
        scopes=person.scopes,
        expires_at=request.app.state.console.now() + LASTS,
        id_token=person.id_token,
    )
    response = await begin(request, session, left.wanted)
    response.delete_cookie(STATE_COOKIE, path=base(request))
    return response


@router.post("/sign-out")
@allows(*READERS)
async def sign_out(request: Request) -> Response:
    """End the session here, and at the provider where it was begun there."""
    console: Console = request.app.state.console
    await console.recording.signed(actor_of(request), Action.SIGN_OUT)
    await console.sessions.end(digest(request.cookies.get(COOKIE, "")))
    target = address(request, "/sign-in")
    if request.state.session.person is not None and console.provider is not None:
        target = (
            await console.provider.sign_out_address(
                request.state.session.id_token, console.absolute(request, "/sign-in")
            )
            or target
        )
    response = RedirectResponse(target, 303)
    response.delete_cookie(COOKIE, path=base(request))
    return response
