"""Callers' API keys and their scopes. A caller is nobody until the key's digest is found.

Keys are 32 random bytes, so a plain SHA-256 of them is stored: a slow hash would buy nothing.
The key is checked from the headers alone, before a byte of the body is read.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer

from app.errors import NotAllowed, NotAuthenticated
from app.store.keys import KeyStore

KEY_PREFIX = "dlr_"


class Scope(StrEnum):
    """What a key may do. ``admin`` may do everything, and sees every app's messages."""

    SEND = "send"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``app`` is the name that the key was created with; several keys may share it."""

    key_id: str
    app: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether this caller sees all apps."""
        return Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """The one app whose messages this caller may see, or None for all of them."""
        return None if self.is_admin else self.app

    def may(self, scope: Scope) -> bool:
        """Whether the key has this scope."""
        return scope in self.scopes or self.is_admin


class Authenticator:
    """Finds the caller behind a request."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys

    async def authenticate(self, authorization: str | None, scope: Scope) -> Caller:
        """The caller. Raises NotAuthenticated, NotAllowed or StoreUnavailable."""
        kind, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or not secret:
            raise NotAuthenticated("Send your API key as `Authorization: Bearer <key>`")
        key = await self._keys.find(digest(secret))
        if key is None:
            raise NotAuthenticated("This API key is not known, or it is revoked")
        caller = Caller(key.id, key.app, key.scopes)
        if not caller.may(scope):
            has = ", ".join(sorted(key.scopes))
            raise NotAllowed(f"This needs a key with the scope {scope}; yours has: {has}")
        return caller


def digest(secret: str) -> bytes:
    """What is stored of a key."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def new_secret() -> str:
    """A new key, to be shown once."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def secured_router(authenticator: Authenticator, scope: Scope, **options: Any) -> APIRouter:
    """A router whose every route asks for this scope before the framework reads the body."""

    class SecuredRoute(APIRoute):
        """Checks the key, then lets FastAPI do its work."""

        required_scope = scope

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """FastAPI reads the body before it looks at dependencies, so this stands in front."""
            handle = super().get_route_handler()

            async def authenticated(request: Request) -> Response:
                header = request.headers.get("authorization")
                request.state.caller = await authenticator.authenticate(header, scope)
                return await handle(request)

            return authenticated

    # Declared for the OpenAPI document; the check is the one above.
    bearer = HTTPBearer(auto_error=False, description=f"An API key with the scope `{scope}`")
    return APIRouter(route_class=SecuredRoute, dependencies=[Depends(bearer)], **options)


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(_caller)]
