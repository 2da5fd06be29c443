"""Authentication by API key, and scopes. A request is anonymous until its key's digest is found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Annotated

from fastapi import Request, Security
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from app.errors import (
    BadRequest,
    NotAllowed,
    NotAuthenticated,
    StoreRefused,
    StoreUnavailable,
    TooManyRequests,
)
from app.model.api_key import Scope, digest
from app.parts.networks import Address
from app.parts.throttle import Throttle
from app.store.keys import KeyStore

TRUSTED_FOR = 0.05
"""Seconds for which a key that was found is not looked up again: shorter than `dlr keys revoke`
takes to exit after its commit."""
NOTE_USED_EVERY = 60.0
"""Seconds between two updates of when keys were last used."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated caller. ``app`` is the app of the key; an app may have several keys."""

    key_id: str
    app: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        """Whether this caller may do everything, for all apps."""
        return Scope.ADMIN in self.scopes

    @property
    def sees(self) -> str | None:
        """The app whose messages the caller may read; None, for support and admins, is every app.

        Routes that change something ask for ``changes``.
        """
        return None if self.is_admin or Scope.SUPPORT in self.scopes else self.app

    @property
    def changes(self) -> str | None:
        """The app whose messages and webhooks the caller may change; None, for an admin, is every
        app. Support changes nothing: with a key that may also send, only its own app's.
        """
        return None if self.is_admin else self.app

    @property
    def hides_texts(self) -> bool:
        """Whether message texts are left out of its answers unless it asks for them."""
        return Scope.SUPPORT in self.scopes and not self.is_admin

    @property
    def is_person(self) -> bool:
        """Whether people use this key, so that what they read is audited. Keys of apps, which read
        only their own messages, are not.
        """
        return self.sees is None

    def has_any(self, scopes: Collection[str]) -> bool:
        """Whether the caller has one of these scopes, or ``admin``."""
        return self.is_admin or not self.scopes.isdisjoint(scopes)

    def require_any(self, scopes: Collection[str]) -> None:
        """Raises NotAllowed unless the key has one of these scopes, or ``admin``."""
        if not self.has_any(scopes):
            needed = " or ".join(scope for scope in Scope if scope in scopes)
            has = ", ".join(sorted(self.scopes))
            raise NotAllowed(f"This needs a key with the scope {needed}; yours has: {has}")


class Authenticator:
    """Finds the caller of a request by its API key.

    A key that was just found is not looked up again for TRUSTED_FOR seconds, and requests that come
    while it is being found share that lookup if it began no longer ago (docs/performance.md).
    """

    def __init__(
        self,
        keys: KeyStore,
        clock: Callable[[], float] = time.monotonic,
        *,
        failures: Throttle | None = None,
    ) -> None:
        """``failures``: how often keys of an address may be wrong; None is no limit."""
        self._keys = keys
        self._clock = clock
        self._failures = failures
        self._used: set[str] = set()  # ids of keys, since this was last recorded
        self._valid: set[bytes] = set()  # digests of keys when they were last looked up
        self._cache: dict[bytes, tuple[float, Caller]] = {}  # no larger than the table of keys
        self._lookups: dict[bytes, tuple[float, asyncio.Task[Caller]]] = {}

    async def find(
        self, authorization: str | None, address: Callable[[], Address | None] = lambda: None
    ) -> Caller:
        """Whose key it is, whatever its scopes.

        Raises NotAuthenticated, TooManyRequests or StoreUnavailable. A key that was valid before is
        looked up also where an address has failed too often: many apps may share one.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not secret:
            raise NotAuthenticated("Send your API key as `Authorization: Bearer <key>`")
        key_digest = digest(secret)
        if self._failures is None or key_digest in self._valid:
            return await self._find(key_digest)
        network = _network(address())
        if wait := self._failures.wait(network):
            raise TooManyRequests(
                "Too many requests with a wrong key came from your address", retry_after=wait
            )
        try:
            return await self._find(key_digest)
        except NotAuthenticated:
            self._failures.failed(network)
            raise

    async def run(self) -> None:
        """Record when keys were used, until cancelled."""
        while True:
            await asyncio.sleep(NOTE_USED_EVERY)
            await self.note_used()

    async def note_used(self) -> None:
        """Record the use of the keys that were used since the last time."""
        used, self._used = self._used, set()
        try:
            if used:
                await self._keys.note_used(used)
        except (StoreUnavailable, StoreRefused):
            self._used |= used

    async def _find(self, key_digest: bytes) -> Caller:
        now = self._clock()
        cached_at, cached = self._cache.get(key_digest, (now - TRUSTED_FOR, None))
        if cached is not None and now - cached_at < TRUSTED_FOR:
            return cached
        began_at, lookup = self._lookups.get(key_digest, (now - TRUSTED_FOR, None))
        if lookup is None or now - began_at >= TRUSTED_FOR:
            lookup = asyncio.create_task(self._look_up(key_digest, now))
            self._lookups[key_digest] = (now, lookup)
        return await asyncio.shield(lookup)  # a request that is cancelled must not end the others'

    async def _look_up(self, key_digest: bytes, now: float) -> Caller:
        try:
            key = await self._keys.find(key_digest)
        finally:
            if self._lookups.get(key_digest, (None, None))[1] is asyncio.current_task():
                del self._lookups[key_digest]  # else it was replaced by a later one
        if key is None:
            self._cache.pop(key_digest, None)
            self._valid.discard(key_digest)
            raise NotAuthenticated("This API key is not known, or it is revoked or has expired")
        caller = Caller(key.id, key.app, key.scopes)
        self._used.add(key.id)
        self._valid.add(key_digest)
        self._cache[key_digest] = (now, caller)
        return caller


def _network(address: Address | None) -> object:
    """Whose failures count together: an IPv6 host has a whole /64 of addresses."""
    return int(address) >> 64 if isinstance(address, IPv6Address) else address


def authorization_of(request: Request) -> str | None:
    """The request's Authorization header. Raises BadRequest if there are several: proxies and
    servers differ in which of them they believe.
    """
    headers = request.headers.getlist("authorization")
    if len(headers) > 1:
        raise BadRequest("There is more than one Authorization header; send one")
    return headers[0] if headers else None


class ApiKey(SecurityBase):
    """The dependency that provides the caller, and the security scheme in the OpenAPI document.

    The key is checked by `app.web.routing.KeyedRoute` before the body is read; FastAPI solves
    dependencies only after it.
    """

    def __init__(self) -> None:
        self.scheme_name = "apiKey"
        self.model = HTTPBearer(
            description="An API key, made by `dlr keys create`. Each operation names the scopes "
            "of which the key needs one: `send`, `read` (its app's messages and webhooks), "
            "`webhooks` (to change them) or `support` (reads every app's, changes nothing; message "
            "texts are null unless `reveal=text` asks for them). `admin` may do everything, for "
            "every app."
        )

    async def __call__(self, request: Request) -> Caller:
        """The caller, as KeyedRoute authenticated it."""
        caller: Caller = request.state.caller
        return caller


api_key = ApiKey()


async def require_valid_key(request: Request) -> None:
    """For an answer that was held (long polling): raises NotAuthenticated if its key is revoked."""
    authenticator: Authenticator = request.app.state.authenticator
    await authenticator.find(request.headers.get("authorization"))


# One of the scopes suffices; FastAPI itself only documents them, `app.web.routing` checks them.
AnyCaller = Annotated[Caller, Security(api_key, scopes=list(Scope))]
SendCaller = Annotated[Caller, Security(api_key, scopes=[Scope.SEND])]
ReadCaller = Annotated[Caller, Security(api_key, scopes=[Scope.READ, Scope.SUPPORT])]
OwnReadCaller = Annotated[Caller, Security(api_key, scopes=[Scope.READ])]
"""For what holds texts, and so is not for support: use ``changes`` as the app that it may see."""
WebhooksCaller = Annotated[Caller, Security(api_key, scopes=[Scope.WEBHOOKS])]
SupportCaller = Annotated[Caller, Security(api_key, scopes=[Scope.SUPPORT])]
AdminCaller = Annotated[Caller, Security(api_key, scopes=[Scope.ADMIN])]
