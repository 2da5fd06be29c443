"""What stands in front of the services of the suites: nothing, or nginx with deploy/nginx.conf.

With DLR_TEST_PROXY=nginx the tests of receipts, sends, the feed and webhooks speak to their
services through it (tests/deploy/test_suites.py runs some of them so).
"""

from __future__ import annotations

import atexit
import os

from tests.support.nginx import Nginx

PROXY = os.environ.get("DLR_TEST_PROXY", "")
_running: list[Nginx] = []


def in_front_of(port: int) -> int:
    """The port at which the service on ``port`` is to be called."""
    if PROXY != "nginx":
        return port
    if not _running:
        atexit.register(_close)
    _running.append(Nginx([port]))
    return _running[-1].port


def _close() -> None:
    for each in _running:
        each.close()
