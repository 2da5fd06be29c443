"""Who runs a command, as the audit names them."""

from __future__ import annotations

import getpass
import os
import socket

from app.model.audit import Actor


def os_actor() -> Actor:
    """The user of the operating system, and the host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # no such user: containers run under any number
        user = str(os.getuid())
    return Actor(f"os:{user}@{socket.gethostname()}")
