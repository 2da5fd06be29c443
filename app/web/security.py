"""Security headers: a browser must not guess another content type, nor pass an address on.

They are on every answer but those of `/dlr`, which no browser calls and whose CPU counts.
"""

from __future__ import annotations

from starlette.types import Message, Send

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
NO_STORE = {"Cache-Control": "no-store"}
"""For answers that hold a secret."""


def with_security_headers(send: Send) -> Send:
    """``send`` with HEADERS added to the response."""

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *HEADERS]
        await send(message)

    return send_with
