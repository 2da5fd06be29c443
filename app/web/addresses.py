"""The address of a caller, seen through trusted proxies.

Everybody on the way can write ``X-Forwarded-For``, the caller included: only what a trusted proxy
has appended counts, so it is read from its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address

from app.parts.networks import Address, Network, is_in

Headers = Iterable[tuple[bytes, bytes]]

FORWARDED_FOR = b"x-forwarded-for"


class Callers:
    """``trusted``: the networks of proxies whose X-Forwarded-For is believed."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = trusted

    def address(self, peer: str | None, headers: Headers) -> Address | None:
        """The caller's address: that of ``peer``, which is connected to us, or behind trusted
        proxies the first that is not trusted. None if the peer has none, as on a Unix socket.

        A trusted proxy that names nobody, or writes what is no address, is the caller itself.
        """
        address = _read(peer or "")
        if address is None or not self._trusts(address):
            return address
        named = b",".join(value for name, value in headers if name.lower() == FORWARDED_FOR)
        for entry in reversed(named.decode("latin-1").split(",")):
            further = _read(entry)
            if further is None:
                break
            address = further
            if not self._trusts(address):
                break
        return address

    def _trusts(self, address: Address) -> bool:
        return is_in(address, self._trusted)


def _read(text: str) -> Address | None:
    """An address as proxies write it, perhaps with a port; None for anything else.

    An IPv4-mapped IPv6 address is the IPv4 address, as which networks name it.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
