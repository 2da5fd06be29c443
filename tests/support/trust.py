"""Tests speak TLS with certificates of their own, so that none reads those of the world: that takes
15 ms of each client and each service that is made, and a run makes thousands of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import certifi

ROOT = Path(__file__).with_name("root.test.pem")
"""An authority whose key nobody has."""
NAME, KEPT = "SSL_CERT_FILE", "TEST_SSL_CERT_FILE"


def trust_one_root() -> None:
    """From now on, in this process and those that it starts."""
    os.environ.setdefault(KEPT, os.environ.get(NAME, ""))
    os.environ[NAME] = str(ROOT)
    certifi.where = lambda: str(ROOT)  # what httpx reads where it is to ignore the environment


def environment_of_the_world() -> dict[str, str]:
    """For a program that may have to fetch packages: our own environment, with its roots."""
    found = dict(os.environ)
    if kept := found.pop(KEPT, ""):
        return found | {NAME: kept}
    found.pop(NAME, None)
    return found
