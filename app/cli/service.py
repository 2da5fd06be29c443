"""The running service, as the commands reach it that only hold an API key."""

from __future__ import annotations

import os

from iovox_receipts import Client
from app.errors import ConfigurationError

URL, KEY = "DLR_API_URL", "DLR_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE = 5.0
"""Seconds of trying again: a person waits for the answer."""


def connect() -> Client:
    """A client from the environment. Raises ConfigurationError; connects to nothing yet."""
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ConfigurationError(
            f"{KEY} is not set: it is a key that `dlr keys create NAME --scope read` printed."
        )
    try:
        return Client(os.environ.get(URL, "").strip() or DEFAULT_URL, key, patience=PATIENCE)
    except ValueError as error:
        raise ConfigurationError(f"{URL} or {KEY} cannot be used: {error}") from None
