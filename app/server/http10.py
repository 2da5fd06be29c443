"""Responses to HTTP/1.0, which knows no chunks: one of unknown length ends with its connection."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from app.server.requests import Receive, Scope, Send


def without_chunks(app: Any, cycle: RequestResponseCycle) -> Any:
    """The application for one HTTP/1.0 request. uvicorn closes the connection after any such."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        is_length_unknown = False

        async def send_plain(message: Any) -> None:
            nonlocal is_length_unknown
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", ())}
                is_length_unknown = b"content-length" not in names
                if is_length_unknown:
                    cycle.chunked_encoding = False  # None would make uvicorn choose chunks
            elif is_length_unknown:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return answer
