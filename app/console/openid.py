"""Signing in at a provider by OpenID Connect: the code flow with PKCE, a state and a nonce.

What the provider signs is trusted once it is verified; what a browser brings back is not.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from app.errors import ConfigurationError, NotAllowed, NotAuthenticated, Unavailable
from app.model.api_key import Scope

ROLE_CLAIMS = ("roles", "groups", "role")
"""Claims in which providers list roles: each a text or a list of texts."""
NAME_CLAIMS = ("email", "preferred_username", "name", "sub")
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "Ed25519")
PATIENCE = 10.0
"""Seconds for one answer of the provider's."""
MAX_ANSWER = 512 * 1024
LEEWAY = 60
"""Seconds by which the provider's clock may differ from ours."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whom the provider knows, with the scopes of their roles."""

    name: str
    scopes: frozenset[str]
    id_token: str

    def __repr__(self) -> str:
        return "Person(...)"


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """Where the browser is redirected, and what has to be kept until it is back."""

    url: str
    state: str
    nonce: str
    verifier: str

    def __repr__(self) -> str:
        return "AuthorizationRequest(...)"


class Provider:
    """``roles`` are the scopes of each value of a role claim; ``name`` is shown on the button."""

    def __init__(
        self,
        *,
        issuer: str,
        client_id: str,
        client_secret: str,
        roles: Mapping[str, frozenset[str]],
        name: str | None = None,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._roles = roles
        self.name = name or urlsplit(issuer).hostname or "your provider"
        parts = urlsplit(issuer)
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._metadata: dict[str, Any] | None = None

    async def authorization_request(self, redirect_uri: str) -> AuthorizationRequest:
        """Begin a sign-in; the provider sends the browser back to ``redirect_uri``.

        Raises Unavailable.
        """
        metadata = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        url = prepare_grant_uri(
            metadata["authorization_endpoint"],
            client_id=self._client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope="openid email profile",
            state=state,
            nonce=nonce,
            code_challenge=create_s256_code_challenge(verifier),
            code_challenge_method="S256",
        )
        return AuthorizationRequest(url, state, nonce, verifier)

    async def redeem(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Person:
        """Exchange an authorization code for who they are. ``redirect_uri``: as in the request.

        Raises NotAuthenticated, NotAllowed or Unavailable.
        """
        metadata = await self._discover()
        tokens = await self._exchange(metadata, code, redirect_uri, verifier)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise NotAuthenticated("The provider did not say who you are. Try again.")
        keys = await self._ask("GET", metadata["jwks_uri"])
        claims = self._verified(id_token, keys, nonce)
        if not self._scopes_of(claims) and "userinfo_endpoint" in metadata:
            bearer = {"Authorization": f"Bearer {tokens.get('access_token')}"}
            userinfo = await self._ask("GET", metadata["userinfo_endpoint"], headers=bearer)
            if userinfo.get("sub") == claims.get("sub"):
                claims = {**userinfo, **claims}
        scopes = self._scopes_of(claims)
        name = next((str(claims[one]) for one in NAME_CLAIMS if claims.get(one)), "somebody")
        if not scopes:
            raise NotAllowed(
                f"{name[:100]} may not use this console: none of the provider’s roles is "
                "known here (DLR_OIDC_ROLES). Ask whoever runs this service."
            )
        return Person(name[:100], scopes, id_token)

    async def sign_out_address(self, id_token: str | None, redirect_uri: str) -> str | None:
        """Where to end the session at the provider, which then leads back to ``redirect_uri``; None
        where it has no such endpoint.
        """
        try:
            endpoint = (await self._discover()).get("end_session_endpoint")
        except Unavailable:
            return None
        if not endpoint:
            return None
        given = {"post_logout_redirect_uri": redirect_uri, "client_id": self._client_id}
        if id_token:
            given["id_token_hint"] = id_token
        return f"{endpoint}?{urlencode(given)}"

    def _verified(self, id_token: str, keys: Any, nonce: str) -> dict[str, Any]:
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY,
            iss={"essential": True, "value": self._issuer_said()},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = jwt.decode(id_token, KeySet.import_key_set(keys), algorithms=list(ALGORITHMS))
            registry.validate(token.claims)
        except (JoseError, ValueError, KeyError) as error:
            reason = "What the provider said cannot be verified. Try again."
            raise NotAuthenticated(reason) from error
        return dict(token.claims)

    def _issuer_said(self) -> str:
        return str((self._metadata or {}).get("issuer", self._issuer))

    def _scopes_of(self, claims: Mapping[str, Any]) -> frozenset[str]:
        values = [value for name in ROLE_CLAIMS for value in _texts(claims.get(name))]
        found: set[str] = set()
        for value in values:
            found |= self._roles.get(value, frozenset())
        return frozenset(found)

    async def _exchange(
        self, metadata: Mapping[str, Any], code: str, redirect_uri: str, verifier: str
    ) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        auth = None
        if "client_secret_basic" in methods:
            auth = aiohttp.BasicAuth(self._client_id, self._client_secret)
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return await self._ask("POST", metadata["token_endpoint"], data=form, auth=auth)

    async def _discover(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery), cached once it was received."""
        if self._metadata is None:
            found = await self._ask("GET", f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise Unavailable("The provider names another issuer than DLR_OIDC_ISSUER.")
            self._metadata = found
        return self._metadata

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        """One answer, which has to be JSON. A refusal is NotAuthenticated: the code was wrong."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
                session.request(method, url, allow_redirects=False, **options) as response,
            ):
                if 400 <= response.status < 500 and method == "POST":
                    raise NotAuthenticated("The provider does not know this sign-in. Try again.")
                if response.status != 200:
                    raise Unavailable(f"The provider answered {response.status}. Try again.")
                content = await response.content.read(MAX_ANSWER)
                found = _json(content)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable("The provider cannot be reached. Sign in with an API key.") from error
        return found


def _json(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError("not an object")  # noqa: TRY004  handled like other bytes that are no answer
    return found


def _texts(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return (value,)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else ()


def read_roles(text: str) -> dict[str, frozenset[str]]:
    """``support-team=support, ops=admin``: the scopes of each value. Raises ConfigurationError."""
    roles: dict[str, frozenset[str]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        value, _, scopes = part.partition("=")
        found = frozenset(scopes.split())
        if not value.strip() or not found or not found <= {Scope.SUPPORT, Scope.ADMIN}:
            raise ConfigurationError(
                f"DLR_OIDC_ROLES: {part[:60]!r} is not VALUE=support or VALUE=admin"
            )
        roles[value.strip()] = roles.get(value.strip(), frozenset()) | found
    return roles
