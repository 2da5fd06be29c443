"""Where webhooks may go. The URL is an app's, and so is what its name resolves to: without a check
a subscription would be a way to make this service call its own neighbours.

A name is resolved here, every one of its addresses is checked, and the connection is made to one of
those very addresses: resolving again to connect would let the answer change in between.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

LONGEST_URL = 2_000
RESOLVERS = 16
"""Threads of their own: a name server that does not answer must not hold up who else resolves."""

_LABEL = rb"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = rb"(?=.{1,253}\.?$)" + _LABEL + rb"(?:\." + _LABEL + rb")*\.?"
_HOST = re.compile(_NAME + rb"|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")  # a name or IPv4, or IPv6
_NAT64 = ip_network("64:ff9b::/96")
# Not global, whatever the version of Python says of them.
_SPECIAL = tuple(
    ip_network(text)
    for text in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15",
                 "240.0.0.0/4", "64:ff9b:1::/48", "2001::/23", "2001:db8::/32", "3fff::/20",
                 "5f00::/16", "fec0::/10")
)  # fmt: skip


class TargetRefused(Exception):
    """The URL must not be called; the text says why, and names no address."""


class Targets:
    """Says where webhooks may go. ``allowed`` networks are exceptions to what is refused."""

    def __init__(
        self,
        *,
        allow_http: bool,
        allowed: Sequence[Network] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._allow_http = allow_http
        self._allowed = tuple(allowed)
        self._threads = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="webhook-names")
        self._resolve = resolve or self._look_up

    def check(self, text: str) -> httpx.URL:
        """The URL, as far as it can be judged by itself. Raises TargetRefused."""
        if len(text) > LONGEST_URL or not text.isprintable() or " " in text:
            raise TargetRefused(f"must be at most {LONGEST_URL} printable characters, no spaces")
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            raise TargetRefused("is not a URL") from None
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_http):
            also = " or http://" if self._allow_http else ""
            raise TargetRefused(f"must start with https://{also}")
        if not _HOST.fullmatch(url.raw_host):
            raise TargetRefused("names no host that can be resolved")
        if url.port is not None and not 1 <= url.port <= 65_535:
            raise TargetRefused("names no port that there is")
        if url.userinfo or url.fragment:
            raise TargetRefused("must have no user, password or #fragment")
        return url

    async def addresses(self, url: httpx.URL) -> list[str]:
        """Where to connect to, best first. Raises TargetRefused, or OSError: it has no address."""
        found = await self._resolve(
            url.raw_host.decode("ascii"), url.port or _DEFAULT_PORTS[url.scheme]
        )
        if not found:
            raise OSError("the name has no address")
        # One of many is enough to refuse: which of them a connection would take is not ours to say.
        if not all(self._allows(ip_address(address)) for address in found):
            raise TargetRefused(
                "is in a network that webhooks must not reach; DLR_WEBHOOK_ALLOWED_NETWORKS names "
                "exceptions"
            )
        return list(dict.fromkeys(found))

    def close(self) -> None:
        """Wait for no name any longer."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _allows(self, address: Address) -> bool:
        real = _behind(address)
        if any(one.version == each.version and one in each
               for one in (address, real) for each in self._allowed):  # fmt: skip
            return True
        return not is_internal(real)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(
                self._threads,
                lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM),
            )
        except UnicodeError as error:  # a label that no name can have
            raise OSError("the name cannot be resolved") from error
        return [str(address[0]) for *_, address in found]


_DEFAULT_PORTS = {"http": 80, "https": 443}


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation with commas between. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_internal(address: Address) -> bool:
    """Whether an address is anything but one host on the public internet."""
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or any(address.version == each.version and address in each for each in _SPECIAL)
    )


def _behind(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, by mapping, NAT64 or 6to4; else itself."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
