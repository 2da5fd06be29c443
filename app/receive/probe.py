"""The doctor's probe of ``POST /dlr``: answered, and nothing is stored.

It is an authenticated call without a body, with a nonce in a header. The answer proves that its
sender knows the secret that the call carried: it is this service, behind all proxies.
"""

from __future__ import annotations

import hmac
import json

from app.iovox.callback import MESSAGE_ID_HEADER
from app.server.requests import Headers

HEADER = b"x-dlr-probe"
LONGEST_NONCE = 100


def probe_answer(headers: Headers, auth_header: bytes) -> bytes | None:
    """The answer to a probe; None for any other call. ``headers`` are those of a valid call."""
    found = dict(headers)
    nonce = found.get(HEADER)
    if nonce is None or len(nonce) > LONGEST_NONCE:
        return None
    message_id = found.get(MESSAGE_ID_HEADER, b"").decode("latin-1")
    proof = probe_proof(found[auth_header].strip(b" \t"), nonce)
    return json.dumps({"proof": proof, "x_message_id": message_id}).encode()


def probe_proof(secret: bytes, nonce: bytes) -> str:
    """A nonce's HMAC under the secret, which only who knows the secret can compute."""
    return hmac.new(secret, b"iovox-receipts probe: " + nonce, "sha256").hexdigest()
