"""Ports on loopback that stay ours while the server behind them is down."""

import random
import socket
from pathlib import Path

LOWEST = 10_000
RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """A port that nobody listens on, below those the kernel hands to outgoing connections.

    Port 0 would give one of the kernel's own: while a killed server is down, a client that keeps
    trying to reach such a port can be given that very port as its source, and connects to itself.
    """
    highest = _first_ephemeral_port() - 1
    for _ in range(1000):
        port = random.randint(LOWEST, highest)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port on loopback from {LOWEST} to {highest}")


def _first_ephemeral_port() -> int:
    try:
        first = int(RANGE_FILE.read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > LOWEST + 5_000 else 65_536
