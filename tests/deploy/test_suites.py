"""Parts of the suites once more, their services behind nginx: batches and live
streams; with DLR_TEST_LONG=1 more of them. All: DLR_TEST_PROXY=nginx make test.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.front import PROXY
from tests.support.long import LONG
from tests.support.process import PROJECT

pytestmark = pytest.mark.slow

SUITES = [
    "tests/send/test_batch.py",
    "tests/events/test_stream.py",
]
if LONG:
    SUITES += [
        "tests/receive/test_dlr.py",
        "tests/send/test_idempotency.py",
        "tests/send/test_send.py",
        "tests/events/test_feed.py",
        "tests/events/test_webhooks.py",
    ]


@pytest.mark.timeout(400)
@pytest.mark.skipif(bool(PROXY), reason="all of them run so already")
def test_they_pass_through_nginx(nginx_is_there: None) -> None:
    """On SQLite: the database makes no difference to a proxy."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *SUITES]
    ran = subprocess.run(
        [*command, "-k", "sqlite"],
        cwd=PROJECT,
        env={**_without_workers(), "DLR_TEST_PROXY": "nginx"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]


def _without_workers() -> dict[str, str]:
    """The environment without what pytest tells its own workers and itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
