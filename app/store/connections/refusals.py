"""Errors of connecting (TLS, certificates, authorization), with the connection parameter at fault.

Drivers and OpenSSL say what failed, but not which part of DLR_DATABASE_URL to look at.
"""

from __future__ import annotations

import ssl

import asyncpg

_EXPIRED = 10
_NOT_YET_VALID = 9
_WRONG_HOST = (62, 64)
"""OpenSSL's X509_V_ERR_ codes; 64 is about an address instead of a name."""


class CannotConnect(OSError):
    """The server was reached and no connection was made. The text has no password."""


def in_words(error: BaseException, *, dsn: str) -> CannotConnect | None:
    """The error with the parameter to look at; None where it says enough by itself."""
    text = str(error).partition("\n")[0]
    if isinstance(error, ssl.SSLCertVerificationError):
        return CannotConnect(_certificate(error))
    if isinstance(error, ssl.SSLError):
        return CannotConnect(_tls(error))
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in text:
        return CannotConnect("the server has no TLS (ssl = off), which sslmode asks for")
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return _authorization(text)
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and "sslcert=" in dsn:
        # In TLS 1.3 a client's certificate is refused after the handshake: asyncpg only sees the
        # connection end.
        return CannotConnect(
            "the server closed the connection at once: it may not accept our certificate, which "
            "sslcert and sslkey name (its log says why)"
        )
    return None


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    said = error.verify_message
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        when = "has expired" if error.verify_code == _EXPIRED else "is not valid yet"
        return f"the server's certificate {when}: renew it, or set this machine's clock"
    if error.verify_code in _WRONG_HOST:
        return (
            f"the server's certificate is for another host ({said}): sslmode=verify-full wants "
            "the host as DLR_DATABASE_URL spells it; sslmode=verify-ca does not compare it"
        )
    return (
        f"the server's certificate is not signed by an authority in sslrootcert ({said}): "
        "sslrootcert names the certificate of the server's own authority"
    )


def _tls(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "unknown ca" in reason or "bad certificate" in reason or "certificate expired" in reason:
        return f"the server does not accept our certificate ({reason}): see sslcert and sslkey"
    return f"TLS failed ({reason}): see sslmode, ssl_min_protocol_version, ssl_max_protocol_version"


def _authorization(text: str) -> CannotConnect | None:
    if "valid client certificate" in text:
        return CannotConnect(f"{text}: sslcert and sslkey name it")
    if "certificate authentication failed" in text:
        return CannotConnect(f"{text}: the certificate in sslcert is for another user")
    if text.endswith("no encryption"):
        return CannotConnect(f"{text}: the server may want TLS, as sslmode=require does")
    return None
