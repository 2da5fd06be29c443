"""No test calls the world, so none reads its certificates: that takes 15 ms of each client and each
service that is made, and a run makes thousands of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import certifi

ROOT = Path(__file__).with_name("root.test.pem")
"""An authority whose key nobody has."""


def trust_one_root() -> None:
    """From now on, in this process and those that it starts."""
    os.environ["SSL_CERT_FILE"] = str(ROOT)
    os.environ.pop("SSL_CERT_DIR", None)
    certifi.where = lambda: str(ROOT)  # what httpx reads where it is to ignore the environment
