"""The pages for admins: the API keys, made and revoked, and the audit."""

from __future__ import annotations

import secrets

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from app.console.guard import ConsoleRoute, allows
from app.console.pages import PATH, address, render
from app.errors import FieldError, Invalid, NotFound
from app.store.keys import KeyStore
from app.web.caller import Scope, digest, new_secret

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)

MEANS = {
    Scope.SEND: "send, cancel, send again",
    Scope.READ: "look up its app’s messages, see its webhooks",
    Scope.WEBHOOKS: "create and change webhooks",
    Scope.SUPPORT: "read every app’s, change nothing",
    Scope.ADMIN: "everything",
}
MAX_NAME = 100


@router.get("/keys")
@allows(Scope.ADMIN)
async def keys(request: Request) -> Response:
    """Every key; a secret is shown once, when it is made."""
    return await _keys(request)


@router.post("/keys")
@allows(Scope.ADMIN)
async def create_key(request: Request) -> Response:
    """Make a key and show its secret, once."""
    form = request.state.form
    name = form.get("name", "").strip()
    scopes = frozenset(str(scope) for scope in Scope if form.get(f"scope-{scope}"))
    faults = []
    if not name or len(name) > MAX_NAME or not name.isprintable():
        faults.append(f"An app’s name has 1 to {MAX_NAME} printable characters.")
    if not scopes:
        faults.append("Choose at least one thing that it may do.")
    if faults:
        return await _keys(request, status=422, faults=faults, name=name, chosen=scopes)
    secret, key_id = new_secret(), secrets.token_hex(4)
    store: KeyStore = request.app.state.keys
    await store.add(key_id=key_id, app=name, digest=digest(secret), scopes=scopes)
    return await _keys(request, secret=secret, made=key_id)


@router.get("/keys/{id}/revoke")
@allows(Scope.ADMIN)
async def ask_revoke(request: Request, id: str) -> Response:
    """Asks once."""
    found = {key.id: key for key in await request.app.state.keys.all()}.get(id)
    if found is None or found.revoked_at is not None:
        raise NotFound("There is no valid key with this id.")
    return render(request, "revoke.html", key=found, place="Keys")


@router.post("/keys/{id}/revoke")
@allows(Scope.ADMIN)
async def revoke_key(request: Request, id: str) -> Response:
    """End a key at once, and the sessions that were begun with it."""
    if id == request.state.caller.key_id:
        fault = FieldError("key", "is the one that you are signed in with")
        raise Invalid("Sign in with another key to revoke this one.", errors=(fault,))
    if not await request.app.state.keys.revoke(id):
        raise NotFound("There is no valid key with this id.")
    return RedirectResponse(address(request, "/keys", done=id), 303)


async def _keys(
    request: Request,
    *,
    status: int = 200,
    faults: list[str] | None = None,
    name: str = "",
    chosen: frozenset[str] = frozenset(),
    secret: str | None = None,
    made: str | None = None,
) -> Response:
    store: KeyStore = request.app.state.keys
    return render(
        request,
        "keys.html",
        status=status,
        keys=await store.all(),
        means=MEANS,
        faults=faults or [],
        name=name,
        chosen=chosen,
        secret=secret,
        made=made,
        done=request.query_params.get("done"),
        own=request.state.caller.key_id,
        place="Keys",
    )
