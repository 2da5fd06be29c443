"""The running service, as the commands reach it that only hold an API key."""

from __future__ import annotations

import os

from app.errors import ConfigurationError
from iovox_receipts import Client

URL, KEY = "DLR_API_URL", "DLR_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE = 60.0
"""Seconds for the answer: longer than the service itself waits for iovox."""
CONNECT_TIMEOUT = 5.0
"""Seconds of trying to reach the service at all: a person waits for it."""


def connect() -> Client:
    """A client from the environment. Raises ConfigurationError; connects to nothing yet."""
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ConfigurationError(
            f"{KEY} is not set: it is a key that `dlr keys create NAME --scope read` printed."
        )
    url = os.environ.get(URL, "").strip() or DEFAULT_URL
    try:
        return Client(url, key, patience=PATIENCE, connect_timeout=CONNECT_TIMEOUT)
    except ValueError as error:
        raise ConfigurationError(f"{URL} or {KEY} cannot be used: {error}") from None
