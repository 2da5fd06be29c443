"""A process that was given few files takes what it may have."""

from __future__ import annotations

import resource

from app.server.limits import WANTED, raise_file_limit


def test_the_limit_is_raised_as_far_as_the_system_lets_us() -> None:
    before = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = min(soft, 512)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, hard))
        allowed = raise_file_limit()
        assert allowed == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert allowed == (WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
