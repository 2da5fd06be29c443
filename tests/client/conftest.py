"""Tests that ask for one of these run twice, once for each client."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from iovox_receipts import Client
from tests.client.both import CLIENTS, Make
from tests.client.scripted import Answer, Play, Script


@pytest.fixture(params=CLIENTS)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Makes a client, and closes it after the test."""
    made = CLIENTS[request.param]
    with ExitStack() as stack:

        def make(*args: object, **options: object) -> Client:
            return stack.enter_context(made(*args, **options))

        yield make


@pytest.fixture
def play(make: Make) -> Play:
    """A service that gives these answers, for a client of either kind."""

    def play(answers: Sequence[Answer]) -> Script:
        return Script(answers, make)

    return play
