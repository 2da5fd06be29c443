"""Tests of the model start with empty caches, so that none sees what another one has computed."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from app.model import numbers, receipt


@pytest.fixture(autouse=True)
def _empty_caches() -> None:
    for module in (numbers, receipt):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@pytest.fixture
def host_in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The host's own zone, which must not matter, is neither UTC nor London's."""
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()
