"""Tables of labelled cases: a row's first cell is its story."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def labelled(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    return [pytest.param(*row[1:], id=row[0]) for row in rows]
