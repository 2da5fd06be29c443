"""A resolver with a fixed table of names, without queries."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult


class StaticResolver(AbstractResolver):
    """Every name has these addresses, each with a port of its own or the URL's."""

    def __init__(self, *addresses: str | tuple[str, int]) -> None:
        self._addresses = addresses
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        pairs = [(each, port) if isinstance(each, str) else each for each in self._addresses]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=own,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, own in pairs
        ]

    async def close(self) -> None:
        pass
