"""Statements that are run thousands of times a second: compiled once, and run as the driver does.

Around a statement of 100 microseconds SQLAlchemy's way of running it costs several hundred. Rows
have the same names and, but for SQLite's sake, the same types as ever.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select

from app.store.engine import Database


def _row_type(names: Sequence[str]) -> Callable[..., Any]:
    """A tuple whose places have names, as SQLAlchemy's rows do."""
    return namedtuple("Row", names)  # noqa: PYI024  known at run time only


class Compiled:
    """One query; its parameters have names, and every one of them is an array."""

    def __init__(self, database: Database, query: Select[Any] | CompoundSelect[Any]) -> None:
        self._database = database
        self._query = query
        if not database.is_sqlite:
            compiled = query.compile(dialect=database.engine.dialect)
            self._text = str(compiled)
            self._order: Sequence[str] = compiled.positiontup or ()
            columns = query.selected_columns
            names = [column.key or "" for column in columns]
            self._row: Callable[..., Any] = _row_type(names)

    async def rows(self, values: Mapping[str, Sequence[Any]], *, patience: float) -> Sequence[Any]:
        """All rows. Raises StoreUnavailable, also where it takes longer than ``patience`` s."""
        if self._database.is_sqlite:
            async with self._database.read(patience=patience) as connection:
                rows: Sequence[Any] = (await connection.execute(self._query, values)).all()
                return rows
        async with self._database.direct(patience=patience) as connection:
            found = await connection.fetch(self._text, *(values[name] for name in self._order))
        return [self._row(*row) for row in found]
