"""Objects that are built from settings alone: the database, headers, keys, proxies.

Raises ConfigurationError that names the variable, and never quotes a secret.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import structlog
from pydantic import SecretStr
from yarl import URL

from app.console.openid import Provider, read_roles
from app.errors import ConfigurationError
from app.iovox.callback import CallbackHeaders
from app.iovox.proxy import find_proxy
from app.iovox.tls import tls_context
from app.parts.sealing import Sealer
from app.record.evidence.keys import read_keys
from app.record.evidence.note import SigningKey
from app.settings import Settings, variable
from app.store.clock import DatabaseClock
from app.store.engine import Database

LISTENER_CONNECTIONS = 1
"""Of DLR_DATABASE_POOL: the connection that listens for notifications."""
SHORTEST_SECRET = 16
"""Characters: a callback secret with fewer is warned of."""

log = structlog.get_logger(__name__)


def open_database(
    settings: Settings,
    *,
    pool_size: int | None = None,
    direct_size: int | None = None,
    clock: DatabaseClock | None = None,
) -> Database:
    """The database of DLR_DATABASE_URL. Raises ConfigurationError."""
    pool_size = pool_size or settings.database_pool - LISTENER_CONNECTIONS
    with configuration_errors("database_url"):
        return Database(
            settings.database_url,
            pool_size=pool_size,
            direct_size=direct_size,
            pooler=settings.database_pooler,
            clock=clock,
        )


def callback_headers(settings: Settings) -> CallbackHeaders:
    """The headers and secrets of callbacks. Raises ConfigurationError, without the secrets."""
    previous = settings.callback_previous_secrets.get_secret_value()
    with configuration_errors():
        return CallbackHeaders.parse(
            plain(settings.callback_url_headers) or "",
            auth_header=settings.callback_auth_header,
            previous_secrets=[value.strip() for value in previous.split(",") if value.strip()],
        )


def warn_of_short_secret(headers: CallbackHeaders) -> None:
    """Log a warning where the callback secret is short enough to be guessed."""
    if headers.shortest < SHORTEST_SECRET:
        log.warning(
            "callback_secret_short",
            characters=headers.shortest,
            consequence="whoever guesses it can forge receipts",
            remedy="`openssl rand -hex 24` makes a good one",
        )


def rotated_headers(settings: Settings, known: CallbackHeaders) -> CallbackHeaders:
    """The ``callback_headers`` that replace ``known`` in a running process. Logs a warning where
    the secret of ``known`` is no longer accepted. Raises ConfigurationError or ValueError.
    """
    headers = callback_headers(settings)
    if headers.auth_header != known.auth_header:
        raise ValueError("another header would carry the secret: that needs a restart")
    if known.secrets[0] not in headers.secrets:
        log.warning(
            "callback_secret_dropped",
            consequence="receipts of messages that were sent with it are refused",
            remedy=f"leave it in {variable('callback_previous_secrets')} for some days",
        )
    warn_of_short_secret(headers)
    return headers


def sealer(settings: Settings) -> Sealer:
    """What encrypts webhooks' secrets. Raises ConfigurationError, without quoting a key."""
    with configuration_errors("encryption_key"):
        return Sealer(plain(settings.encryption_key) or "")


def openid_provider(settings: Settings) -> Provider | None:
    """Where people may sign in besides with a key. Raises ConfigurationError."""
    if settings.oidc_issuer is None:
        return None
    secret = plain(settings.oidc_client_secret)
    roles = read_roles(settings.oidc_roles)
    if not settings.oidc_client_id or not secret or not roles:
        names = ("oidc_client_id", "oidc_client_secret", "oidc_roles")
        needed = ", ".join(variable(name) for name in names)
        raise ConfigurationError(f"{variable('oidc_issuer')} is set, and needs {needed} as well.")
    return Provider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=secret,
        roles=roles,
        name=settings.oidc_name,
    )


def evidence_keys(file: Path) -> list[SigningKey]:
    """The keys of DLR_EVIDENCE_KEY_FILE. Raises ConfigurationError, without them."""
    with configuration_errors("evidence_key_file"):
        return read_keys(file)


def iovox_proxy(settings: Settings) -> URL | None:
    """The proxy for requests to iovox, if any. Raises ConfigurationError, without the password."""
    with configuration_errors():
        return find_proxy(settings.iovox_url, plain(settings.iovox_proxy))


def iovox_tls(settings: Settings) -> ssl.SSLContext | None:
    """The TLS context for iovox; None for http. Raises ConfigurationError (invalid CA file)."""
    if settings.iovox_ca_file is None and settings.iovox_url.startswith("http:"):
        return None
    with configuration_errors("iovox_ca_file"):
        return tls_context(settings.iovox_ca_file)


@contextmanager
def configuration_errors(field: str | None = None) -> Iterator[None]:
    """Turn a ValueError into a ConfigurationError; ``field`` is named if the error does not."""
    try:
        yield
    except ValueError as error:
        where = f"{variable(field)}: " if field else ""
        raise ConfigurationError(f"A setting cannot be used.\n  {where}{error}") from error


def days(number: float | None) -> timedelta | None:
    """A number of days as a duration; None where none is set."""
    return None if number is None else timedelta(days=number)


def plain(secret: SecretStr | None) -> str | None:
    """The secret itself; None where none is set."""
    return secret.get_secret_value() if secret else None
