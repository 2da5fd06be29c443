"""Tests that take long: one case of each in every run, the others with DLR_TEST_LONG=1."""

from __future__ import annotations

import os
from typing import TypeVar

import pytest

from tests.support.fixtures import BOTH

LONG = bool(os.environ.get("DLR_TEST_LONG"))
SQLITE, POSTGRESQL = BOTH

Case = TypeVar("Case")


def on(database: object) -> pytest.MarkDecorator:
    """On this one of BOTH; with DLR_TEST_LONG=1 on both."""
    return pytest.mark.parametrize("database_url", BOTH if LONG else [database], indirect=True)


def cases(first: Case, *others: Case) -> list[Case]:
    """The first one; with DLR_TEST_LONG=1 all."""
    return [first, *others] if LONG else [first]
