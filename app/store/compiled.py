"""SQLAlchemy's selects, compiled once and run by asyncpg on PostgreSQL.

For lookups, which are run thousands of times a second (docs/performance.md). On SQLite they are run
by SQLAlchemy.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select

from app.store.engine import Database


def _row_type(names: Sequence[str]) -> Callable[..., Any]:
    return namedtuple("Row", names)  # noqa: PYI024  known at run time only


class Compiled:
    """One query whose parameters are arrays, by name. Its rows have the columns as attributes, as
    SQLAlchemy's have.
    """

    def __init__(self, database: Database, query: Select[Any] | CompoundSelect[Any]) -> None:
        self._database = database
        self._query = query
        if not database.is_sqlite:
            compiled = query.compile(dialect=database.engine.dialect)
            self._text = str(compiled)
            self._order: Sequence[str] = compiled.positiontup or ()
            names = [column.key or "" for column in query.selected_columns]
            self._row = _row_type(names)

    async def rows(self, values: Mapping[str, Sequence[Any]], *, patience: float) -> Sequence[Any]:
        """All rows. Raises StoreUnavailable, also if it takes longer than ``patience`` seconds."""
        if self._database.is_sqlite:
            async with self._database.read(patience=patience) as connection:
                rows: Sequence[Any] = (await connection.execute(self._query, values)).all()
                return rows
        async with self._database.direct(patience=patience) as connection:
            found = await connection.fetch(self._text, *(values[name] for name in self._order))
        return [self._row(*row) for row in found]
