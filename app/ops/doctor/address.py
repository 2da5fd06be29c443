"""DLR_PUBLIC_URL: does it lead here, with the secret header intact. Nothing is stored."""

from __future__ import annotations

import hmac
import json
import secrets
from ipaddress import ip_address
from urllib.parse import urlsplit

import aiohttp

from app.iovox.callback import CallbackHeaders
from app.ops.doctor.findings import Finding
from app.receive.probe import HEADER, probe_proof

CHECK = "public url"
PATIENCE = 10.0
LARGEST_ANSWER = 4096
SHORTEST_SECRET = 16
_PROXY = "see docs/operations.md, Load balancers and proxies"


async def examine_address(public_url: str, headers: CallbackHeaders) -> list[Finding]:
    """Call /dlr as iovox would, through whatever is in front of it."""
    found = []
    parts = urlsplit(public_url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        found.append(
            Finding(
                CHECK,
                f"{public_url} is not encrypted: the secret can be read on the way",
                "have a proxy terminate TLS, and set DLR_PUBLIC_URL to its https:// address",
            )
        )
    if len(headers.secrets[0]) < SHORTEST_SECRET:
        found.append(
            Finding(
                "secret",
                f"The secret of the callbacks has fewer than {SHORTEST_SECRET} characters",
                "take a longer one, such as `openssl rand -hex 24` prints",
            )
        )
    return [*found, await _probe(public_url, headers)]


async def _probe(public_url: str, headers: CallbackHeaders) -> Finding:
    nonce, message_id = secrets.token_hex(16), secrets.token_hex(16)
    secret = headers.secrets[0]
    sent = {
        headers.auth_header.decode(): secret.decode(),
        "X-Message-Id": message_id,
        HEADER.decode(): nonce,
    }
    url = f"{public_url}/dlr"
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, headers=sent, data=b"", allow_redirects=False) as response,
        ):
            status, body = response.status, await response.content.read(LARGEST_ANSWER)
    except aiohttp.ClientConnectorCertificateError as error:
        return Finding(
            CHECK,
            f"The certificate of {url} is not one that others trust: {error.certificate_error}",
            "have the proxy send the whole chain of a valid certificate",
        )
    except aiohttp.ClientConnectorError as error:
        words = f"{url} cannot be reached: {error.os_error.strerror or error.os_error}"
        return Finding(CHECK, words, "check the name, the port, and that the proxy is running")
    except TimeoutError:
        words = f"{url} has not answered within {PATIENCE:g} s"
        return Finding(CHECK, words, f"check the proxy; {_PROXY}")
    except aiohttp.ClientError as error:
        words = f"{url} does not answer as a web server does ({type(error).__name__})"
        return Finding(CHECK, words, "check what listens there")
    expected = probe_proof(secret, nonce.encode())
    return _judge(url, status, body, expected=expected, message_id=message_id)


def _judge(url: str, status: int, body: bytes, *, expected: str, message_id: str) -> Finding:
    try:
        answer = json.loads(body) if status == 200 else {}
        proof, name = str(answer["proof"]), str(answer["x_message_id"])
    except (ValueError, TypeError, KeyError):
        return _refused(url, status)
    if not hmac.compare_digest(proof, expected):
        return Finding(
            CHECK, f"{url} leads to a service with another secret", "check DLR_PUBLIC_URL"
        )
    if name != message_id:
        return Finding(
            CHECK,
            f"On the way to {url} the header X-Message-Id is lost: a text whose answer was lost "
            "would stay UNCONFIRMED",
            f"let the proxy pass all headers; {_PROXY}",
        )
    return Finding(CHECK, f"{url} leads here, with the secret header intact")


def _refused(url: str, status: int) -> Finding:
    if status == 401:
        return Finding(
            CHECK,
            f"{url} answers 401: the secret header is lost on the way, or a replica behind it has "
            "another secret, or DLR_ALLOWED_CALLERS leaves this host out",
            f"let the proxy pass the header as it is, and give all replicas one secret; {_PROXY}",
        )
    if 300 <= status < 400:
        return Finding(
            CHECK,
            f"{url} answers {status}, a redirection, which iovox does not follow",
            "set DLR_PUBLIC_URL to where it leads",
        )
    if status in (502, 503, 504):
        return Finding(CHECK, f"{url} answers {status}", "start the service behind the proxy")
    return Finding(
        CHECK,
        f"{url} answers {status}, and not as this service does: it leads elsewhere",
        "set DLR_PUBLIC_URL to the base address at which iovox reaches this service, without /dlr",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
