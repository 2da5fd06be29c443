"""An HTTP proxy on loopback, for CONNECT and absolute-form requests; it may want credentials."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.iovox.listening import listening
from tests.iovox.scripted import Act, http

USER, PASSWORD = "egress", "pr0xy:p@ss"
CREDENTIALS = "egress:pr0xy%3Ap%40ss"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TUNNEL = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """Does what it is asked for, or plays ``act`` in its stead."""

    def __init__(self) -> None:
        self.port = 0
        self.wants_credentials = False
        self.act: Act | None = None
        self.heads: list[str] = []

    def url(self, credentials: str = "") -> str:
        return f"http://{credentials and credentials + '@'}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head.decode())
        if self.act is not None:
            await self.act(writer)
        elif self.wants_credentials and not self._has_credentials(head.decode()):
            writer.write(http(407, "who are you?", Proxy_Authenticate="Basic"))
        else:
            await self._forward(head, reader, writer)

    def _has_credentials(self, head: str) -> bool:
        return f"Proxy-Authorization: Basic {BASIC}" in head.split("\r\n")

    async def _forward(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        method, target, _ = head.decode().split(" ", 2)
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        behind_reader, behind = await asyncio.open_connection(url.hostname, url.port)
        if method == "CONNECT":
            writer.write(TUNNEL)
        else:
            behind.write(head.replace(target.encode(), f"{url.path}?{url.query}".encode(), 1))
        try:
            await asyncio.gather(_carry(reader, behind), _carry(behind_reader, writer))
        finally:
            behind.transport.abort()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with listening(proxy.serve) as proxy.port:
        yield proxy
