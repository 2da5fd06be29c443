"""JSON arrays in text columns: appended to in SQL, so that concurrent changes are not lost."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class Appended(FunctionElement[str]):
    """The array in a column, with one more object at its end. null is an empty array."""

    type = Text()
    inherit_cache = True

    def __init__(
        self, column: ColumnElement[Any], entry: object, *, newest: int | None = None
    ) -> None:
        """``entry``: a JSON object as text. ``newest``: how many are kept, where not all are."""
        limits = [] if newest is None else [literal_column(str(newest), Integer)]
        super().__init__(column, entry, *limits)


@compiles(Appended, "postgresql")
def _on_postgresql(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, entry, *newest = (compiler.process(each, **options) for each in element.clauses)
    array = f"coalesce({column}, '[]')::jsonb || ({entry})::jsonb"
    for most in newest:
        array = f"({array}) - (-{most} - 1)"
    return f"({array})::text"


@compiles(Appended, "sqlite")
def _on_sqlite(element: Any, compiler: SQLCompiler, **options: Any) -> str:
    column, entry, *newest = (compiler.process(each, **options) for each in element.clauses)
    array = f"json_insert(coalesce({column}, '[]'), '$[#]', json({entry}))"
    for most in newest:
        array = f"json_remove({array}, '$[#-' || ({most} + 1) || ']')"
    return array
