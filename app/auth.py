"""Callers' API keys and their scopes. A caller is nobody until the key's digest is found.

Keys are 32 random bytes, so a plain SHA-256 of them is stored: a slow hash would buy nothing.
The key is checked from the headers alone, before a byte of the body is read.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute

from app.errors import NotAllowed, NotAuthenticated
from app.openapi import secured
from app.store.keys import KeyStore
from app.web import only_parameters

KEY_PREFIX = "dlr_"
TRUSTED_FOR = 0.05
"""Seconds. Less than the command that revokes a key takes to end after its commit."""


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
    """Finds the caller behind a request.

    A key that was just found is not looked up again for TRUSTED_FOR: under load that is most of a
    request's own cost, and a key that is revoked ends as good as at once all the same.
    """

    def __init__(self, keys: KeyStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = keys
        self._clock = clock
        self._lately: dict[bytes, tuple[float, Caller]] = {}  # as many as there are keys

    async def authenticate(self, authorization: str | None, scope: Scope) -> Caller:
        """The caller. Raises NotAuthenticated, NotAllowed or StoreUnavailable."""
        kind, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if kind.lower() != "bearer" or not secret:
            raise NotAuthenticated("Send your API key as `Authorization: Bearer <key>`")
        caller = await self._caller(digest(secret))
        if not caller.may(scope):
            has = ", ".join(sorted(caller.scopes))
            raise NotAllowed(f"This needs a key with the scope {scope}; yours has: {has}")
        return caller

    async def _caller(self, wanted: bytes) -> Caller:
        now = self._clock()
        found_at, lately = self._lately.get(wanted, (now - TRUSTED_FOR, None))
        if lately is not None and now - found_at < TRUSTED_FOR:
            return lately
        key = await self._keys.find(wanted)
        if key is None:
            self._lately.pop(wanted, None)
            raise NotAuthenticated("This API key is not known, or it is revoked")
        caller = Caller(key.id, key.app, key.scopes)
        self._lately[wanted] = (now, caller)
        return caller


def digest(secret: str) -> bytes:
    """What is stored of a key."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def new_secret() -> str:
    """A new key, to be shown once."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def secured_router(
    authenticator: Authenticator, scope: Scope, *, plain: bool = False, **options: Any
) -> APIRouter:
    """A router whose every route asks for this scope before the framework reads the body.

    With ``plain`` its endpoints take the request alone and answer a Response: the framework's
    dependencies, which cost more than a lookup does, are left out.
    """

    class SecuredRoute(APIRoute):
        """Checks the key, then lets FastAPI do its work."""

        required_scope = scope

        def __init__(self, path: str, endpoint: Callable[..., Any], **rest: Any) -> None:
            """Document the key, and what every route that asks for one can answer."""
            rest["responses"], rest["openapi_extra"] = secured(
                scope, rest.get("responses"), rest.get("openapi_extra")
            )
            documented = rest["openapi_extra"].get("parameters", [])
            self._reads_query = any(one["in"] == "query" for one in documented)
            super().__init__(path, endpoint, **rest)

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """FastAPI reads the body before it looks at dependencies, so this stands in front."""
            handle = self.endpoint if plain else super().get_route_handler()
            # Where nothing is asked for, whatever is given is a mistake.
            reads_query = self._reads_query or bool(self.dependant.query_params)

            async def authenticated(request: Request) -> Response:
                header = request.headers.get("authorization")
                request.state.caller = await authenticator.authenticate(header, scope)
                if request.scope["query_string"] and not reads_query:
                    only_parameters(request)
                response: Response = await handle(request)
                return response

            return authenticated

    return APIRouter(route_class=SecuredRoute, **options)


async def caller_of(request: Request) -> Caller:  # async, since FastAPI sends others to threads
    """Who asks, in a route of ``secured_router``."""
    caller: Caller = request.state.caller
    return caller


CurrentCaller = Annotated[Caller, Depends(caller_of)]
