"""Tests of the model start with empty caches, so that none sees what another one has computed."""

from __future__ import annotations

import pytest

from app.model import numbers, receipt


@pytest.fixture(autouse=True)
def _empty_caches() -> None:
    for module in (numbers, receipt):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()
