"""The pages for admins: the API keys, made and revoked, and the audit."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from app.console.guard import ConsoleRoute, allows
from app.console.pages import PATH, address, render
from app.console.recording import actor_of
from app.errors import FieldError, Invalid, NotFound
from app.model.api_key import Scope, digest, new_secret
from app.model.audit import Action, AuditFilter
from app.record.audit import Auditor
from app.record.audit_models import AuditQuery
from app.store.keys import KeyStore

router = APIRouter(prefix=PATH, route_class=ConsoleRoute, include_in_schema=False)

MEANS = {
    Scope.SEND: "send, cancel, send again",
    Scope.READ: "look up its app’s messages, see its webhooks",
    Scope.WEBHOOKS: "create and change webhooks",
    Scope.SUPPORT: "read every app’s, change nothing",
    Scope.ADMIN: "everything",
}
MAX_NAME = 100
SHOWN = 100


@router.get("/keys")
@allows(Scope.ADMIN)
async def keys(request: Request) -> Response:
    """Every key; a secret is shown once, when it is made. The address may fill in the form."""
    typed = request.query_params
    return await _keys(request, name=typed.get("name", "")[:MAX_NAME], chosen=_chosen(typed))


@router.post("/keys")
@allows(Scope.ADMIN)
async def create_key(request: Request) -> Response:
    """Make a key and show its secret, once."""
    form = request.state.form
    name = form.get("name", "").strip()
    scopes = _chosen(form)
    faults = []
    if not name or len(name) > MAX_NAME or not name.isprintable():
        faults.append(f"An app’s name has 1 to {MAX_NAME} printable characters.")
    if not scopes:
        faults.append("Choose at least one thing that it may do.")
    if faults:
        return await _keys(request, status=422, faults=faults, name=name, chosen=scopes)
    secret, key_id = new_secret(), secrets.token_hex(4)
    store: KeyStore = request.app.state.keys
    about = {"app": name, "scopes": sorted(scopes)}
    entry = actor_of(request).did(Action.CREATE_KEY, key_id, details=about)
    await store.add(key_id=key_id, app=name, digest=digest(secret), scopes=scopes, entry=entry)
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
    entry = actor_of(request).did(Action.REVOKE_KEY, id)
    if not await request.app.state.keys.revoke(id, entry=entry):
        raise NotFound("There is no valid key with this id.")
    return RedirectResponse(address(request, "/keys", done=id), 303)


@router.get("/audit")
@allows(Scope.ADMIN)
async def audit(request: Request) -> Response:
    """Who did what, newest first; the filters stand in the address."""
    asked = request.query_params
    given = {name: asked[name] for name in ("who", "action", "what", "cursor") if asked.get(name)}
    try:
        query = AuditQuery.model_validate(given)
    except ValidationError as error:
        faults = tuple(
            FieldError(str(one["loc"][0]), one["msg"].removeprefix("Value error, "))
            for one in error.errors(include_input=False, include_url=False)
        )
        raise Invalid("The filters can’t be read.", errors=faults) from None
    auditor: Auditor = request.app.state.auditor
    wanted = AuditFilter(query.who, query.action, query.what, None, None)
    found = await auditor.page(wanted, before=query.cursor, limit=SHOWN + 1)
    given.pop("cursor", None)
    after = str(found[SHOWN - 1].id) if len(found) > SHOWN else None
    return render(
        request,
        "audit.html",
        entries=found[:SHOWN],
        given=given,
        actions=sorted(Action),
        next=after and address(request, "/audit", cursor=after, **given),
        place="Audit",
    )


def _chosen(form: Mapping[str, str]) -> frozenset[str]:
    return frozenset(str(scope) for scope in Scope if form.get(f"scope-{scope}"))


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
