"""How many files, and so connections, the system lets this process have open."""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":
    import resource

WANTED = 65_536
WITHOUT_LIMITS = 10_000


def raise_file_limit() -> int:
    """Allow as many as the system permits us to allow ourselves; answers how many that are.

    Many systems start a process with 1,024, which as many open streams would use up: then nobody
    could connect, iovox least of all.
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
