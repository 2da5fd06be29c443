"""The running service, as the commands reach it that only hold an API key."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import typer

from app.cli.output import complain
from app.errors import ConfigurationError
from iovox_receipts import Client, ClientError, NotFound, NotUnderstood, Problem, Unreachable

URL, KEY = "DLR_API_URL", "DLR_API_KEY"
DEFAULT_URL = "http://127.0.0.1:8080"
PATIENCE = 60.0
"""Seconds for the answer: longer than the service itself waits for iovox."""
CONNECT_TIMEOUT = 5.0
"""Seconds of trying to reach the service at all: a person waits for it."""


@contextmanager
def connect() -> Iterator[Client]:
    """A client from the environment; it connects to nothing yet. Raises ConfigurationError.

    An error of the client's ends the command: see ``client_errors``.
    """
    with client_errors(), _client() as client:
        yield client


@contextmanager
def client_errors() -> Iterator[None]:
    """Say an error of the client's, and end the command with 1, or with 2 for wrong input."""
    try:
        yield
    except ClientError as error:
        complain(in_words(error))
        is_wrong_input = error.is_callers_fault or is_wrong_address(error)
        raise typer.Exit(2 if is_wrong_input else 1) from None


def _client() -> Client:
    key = os.environ.get(KEY, "").strip()
    if not key:
        raise ConfigurationError(
            f"{KEY} is not set: it is a key that `dlr keys create NAME --scope read` printed."
        )
    url = _url()
    try:
        return Client(url, key, patience=PATIENCE, connect_timeout=CONNECT_TIMEOUT)
    except ValueError as error:
        raise ConfigurationError(f"{URL} or {KEY} cannot be used: {error}") from None


def is_wrong_address(error: ClientError) -> bool:
    """Whether something answered that is not the service."""
    if isinstance(error, Problem):
        return not error.code and error.status < 500
    return isinstance(error, NotUnderstood)


def in_words(error: ClientError) -> str:
    """The error, with the setting to look at where the address may be wrong."""
    nothing_there = isinstance(error, NotFound) and urlsplit(_url()).path.strip("/") != ""
    if not (isinstance(error, Unreachable) or nothing_there or is_wrong_address(error)):
        return str(error)
    how = "" if os.environ.get(URL, "").strip() else ", its default"
    return f"{error} ({URL} is {_url()}{how})"


def _url() -> str:
    return os.environ.get(URL, "").strip() or DEFAULT_URL
