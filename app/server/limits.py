"""The process's limit of open files, and so of connections."""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

WANTED = 65_536
WITHOUT_LIMITS = 10_000


def raise_file_limit() -> int:
    """Raise the soft limit as far as the hard limit and WANTED allow; returns the new limit.

    Many systems start a process with 1,024 files. As many open streams would use that up, and then
    iovox could not connect either.
    """
    if sys.platform == "win32":
        return WITHOUT_LIMITS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return WANTED if soft == resource.RLIM_INFINITY else soft
