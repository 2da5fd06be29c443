"""Addresses and networks of either version of IP."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks in CIDR notation with commas between. Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_in(address: Address, networks: Iterable[Network]) -> bool:
    """Whether it is in one of the networks."""
    return any(address.version == each.version and address in each for each in networks)
