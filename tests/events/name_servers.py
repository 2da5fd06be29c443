"""Name servers that tests need: resolvers in their place, and a real one that keeps silent."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from aiohttp.abc import AbstractResolver, ResolveResult


def found(host: str, port: int, *addresses: str) -> list[ResolveResult]:
    return [
        ResolveResult(
            hostname=host,
            host=address,
            port=port,
            family=socket.AF_INET6 if ":" in address else socket.AF_INET,
            proto=0,
            flags=socket.AI_NUMERICHOST,
        )
        for address in addresses
    ]


class Answering(AbstractResolver):
    """Gives these answers, one after the other."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return found(host, port, *self._answers.pop(0))

    async def close(self) -> None:
        pass


class Silent(Answering):
    """Never answers, but for names that begin with ``live``, which are on loopback."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if not host.startswith("live"):
            await asyncio.Event().wait()
        return found(host, port, "127.0.0.1")


class _Server(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        if data[12:].startswith(b"\x04live"):
            self._transport.sendto(_answer(data), sender)


@asynccontextmanager
async def silent_name_server() -> AsyncIterator[str]:
    """Like `Silent`, over UDP; its host and port. Live names have an A record, and no other."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        _Server, local_addr=("127.0.0.1", 0)
    )
    try:
        host, port = transport.get_extra_info("sockname")
        yield f"{host}:{port}"
    finally:
        transport.close()


def _answer(query: bytes) -> bytes:
    end = query.index(b"\0", 12) + 5  # name, type, class
    question = query[12:end]
    is_a = question[-4:-2] == b"\0\x01"
    # Points to the name; A, IN, TTL 0, four bytes.
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01" if is_a else b""
    counts = b"\0\x01" + (b"\0\x01" if is_a else b"\0\0") + b"\0\0\0\0"
    return query[:2] + b"\x81\x80" + counts + question + record
