"""Where webhooks may go. The URL is an app's, and so is what its name resolves to: without a check
a subscription would be a way to make this service call its own neighbours (SSRF).

`Targets` is the resolver of the connections to receivers: it hands on only addresses that it has
checked. A second resolution, to connect, could be answered differently (DNS rebinding).
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver
from yarl import URL

from app.parts.networks import Address, Network, is_in

MAX_URL = 2_000
LARGEST_PORT = 65_535
_PORT = re.compile(r"^[a-z]+://[^/?#]*:([0-9]+)(?:[/?#]|$)", re.ASCII)
ADDRESSES_TRIED = 4
"""Of each family: a name with thousands of addresses must not have us call on all of them."""

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# A last label that is a number makes it an IPv4 address (WHATWG URL): 127.1, 0x7f.1, 2130706433.
_NAME = re.compile(
    r"(?=.{1,253}\.?$)(?!(?:.*\.)?(?:[0-9]+|0[xX][0-9A-Fa-f]*)\.?$)"
    rf"{_LABEL}(?:\.{_LABEL})*\.?"
)
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


class Targets(AbstractResolver):
    """The rules for URLs and addresses. ``allowed`` networks are exceptions to what is refused.

    ``resolver`` is by default c-ares, which reads /etc/hosts first and uses no threads: names whose
    name servers do not answer delay no other name.
    """

    def __init__(
        self,
        *,
        allow_http: bool,
        allowed: Sequence[Network] = (),
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._allow_http = allow_http
        self._allowed = tuple(allowed)
        self._resolver = resolver

    def check(self, text: str) -> URL:
        """The URL, as far as it can be judged without resolving a name. Raises TargetRefused."""
        if len(text) > MAX_URL or not text.isprintable() or " " in text:
            raise TargetRefused(f"must be at most {MAX_URL} printable characters, no spaces")
        try:
            url = URL(text)
        except ValueError:
            port = _PORT.search(text)
            if port and int(port[1]) > LARGEST_PORT:
                raise TargetRefused(f"has a port above {LARGEST_PORT}") from None
            raise TargetRefused("is not a URL") from None
        if url.scheme != "https" and not (url.scheme == "http" and self._allow_http):
            also = " or http://" if self._allow_http else ""
            raise TargetRefused(f"must start with https://{also}")
        self._check_host(url.raw_host or "")
        if not url.port:
            raise TargetRefused("names no port that there is")
        if url.user or url.password or url.fragment:
            raise TargetRefused("must have no user, password or #fragment")
        return url

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The name's addresses, best first, all of them checked.

        Raises TargetRefused, or OSError where the name has no address.
        """
        if self._resolver is None:  # c-ares needs the running event loop
            self._resolver = AsyncResolver()
        if host == "localhost":  # c-ares adds ::1, whatever /etc/hosts says
            family = socket.AF_INET
        found = await self._resolver.resolve(host, port, family)
        if not found:
            raise OSError("the name has no address")
        # One forbidden address is enough to refuse: aiohttp chooses which one it connects to.
        self._require_allowed(ip_address(each["host"]) for each in found)
        return _few_of_each_family(found)

    async def close(self) -> None:
        """Cancel what is still being resolved."""
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    def _check_host(self, host: str) -> None:
        """An address in a URL is checked here, as no resolver is asked for it."""
        try:
            address = ip_address(host)
        except ValueError:
            address = None
        if address is not None and "%" not in host:  # a zone is one of our own interfaces
            self._require_allowed([address])
        elif not _NAME.fullmatch(host):
            raise TargetRefused("names no host that can be resolved")

    def _require_allowed(self, addresses: Iterable[Address]) -> None:
        if not all(self._allows(address) for address in addresses):
            raise TargetRefused(
                "is in a network that webhooks must not reach; DLR_WEBHOOK_ALLOWED_NETWORKS names "
                "exceptions"
            )

    def _allows(self, address: Address) -> bool:
        real = _behind(address)
        if is_in(address, self._allowed) or is_in(real, self._allowed):
            return True
        return not is_internal(real)


def is_internal(address: Address) -> bool:
    """Whether an address is anything but one host on the public internet."""
    return (
        not address.is_global
        or address.is_multicast
        or address.is_reserved
        or is_in(address, _SPECIAL)
    )


def _behind(address: Address) -> Address:
    """The IPv4 address that an IPv6 one leads to, by mapping, NAT64 or 6to4; else itself."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _few_of_each_family(found: Sequence[ResolveResult]) -> list[ResolveResult]:
    seen: Counter[bool] = Counter()
    few = []
    for each in found:
        is_ipv6 = ":" in each["host"]
        seen[is_ipv6] += 1
        if seen[is_ipv6] <= ADDRESSES_TRIED:
            few.append(each)
    return few
