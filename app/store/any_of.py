"""Conditions on many values at once, as one parameter: one prepared statement, however many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, any_, bindparam
from sqlalchemy.dialects.postgresql import ARRAY


def any_of(column: ColumnElement[Any], name: str, *, is_sqlite: bool) -> ColumnElement[bool]:
    """Whether the column equals any of the values that are given as the parameter ``name``."""
    if is_sqlite:
        return column.in_(bindparam(name, expanding=True))
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


def storable(text: str) -> bool:
    """Whether a text column can hold it; if not, no row can have it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text


def chunks(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """The values in chunks of at most ``size``."""
    return [values[start : start + size] for start in range(0, len(values), size)]
