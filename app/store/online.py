"""Operations for migrations that lock large tables only briefly, while the service uses them.

On PostgreSQL each of these commits by itself, so a migration that uses them may end half-way and is
run again from its start: what is there already is left as it is. On SQLite, and in a transaction of
the caller's, they are plain statements.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic import op

MAY_COMMIT = "dlr_may_commit"
"""The option of alembic's context that says whether a migration may commit in between."""
ROWS_AT_ONCE = 5_000
"""Rows that one statement of ``update_in_batches`` looks at: their locks last milliseconds."""


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column that may be null or has a constant default: the table is locked for a moment.

    In the migration's transaction, whose wait for locks is limited; it is committed at once.
    """
    if not _may_commit():
        op.add_column(table, column)
        return
    op.add_column(table, column, if_not_exists=True)
    with op.get_context().autocommit_block():
        pass


def create_index(name: str, table: str, columns: list[Any], **options: Any) -> None:
    """Create an index while rows are written (CONCURRENTLY); waits for running transactions."""
    with _autocommit() as is_autocommit:
        if not is_autocommit:
            op.create_index(name, table, columns, **options)
            return
        # A build that was aborted leaves an invalid index, which is never used.
        if not _is_valid(name):
            op.execute(sa.text(f'drop index concurrently if exists "{name}"'))
        op.create_index(
            name, table, columns, postgresql_concurrently=True, if_not_exists=True, **options
        )


def drop_index(name: str, table: str) -> None:
    """Drop an index while the table is used (CONCURRENTLY)."""
    with _autocommit() as is_autocommit:
        if is_autocommit:
            op.drop_index(name, table_name=table, postgresql_concurrently=True, if_exists=True)
        else:
            op.drop_index(name, table_name=table)


def update_in_batches(table: str, key: str, assignments: str, where: str) -> None:
    """``update table set assignments where ...``, a few thousand rows in each transaction.

    ``key``: a unique column of text by whose order the rows are gone through.
    """
    if not _may_commit():
        op.execute(sa.text(f"update {table} set {assignments} where {where}"))  # noqa: S608  ours
        return
    next_key = sa.text(
        f"select max({key}) from (select {key} from {table} where {key} > :after"  # noqa: S608
        f" order by {key} limit {ROWS_AT_ONCE}) as batch"
    )
    change = sa.text(
        f"update {table} set {assignments}"  # noqa: S608
        f" where {key} > :after and {key} <= :to and ({where})"
    )
    with op.get_context().autocommit_block():
        bind = op.get_bind()
        after = ""
        while (to := bind.execute(next_key, {"after": after}).scalar()) is not None:
            bind.execute(change, {"after": after, "to": to})
            after = to


def _may_commit() -> bool:
    context = op.get_context()
    return context.dialect.name == "postgresql" and bool(context.opts.get(MAY_COMMIT))


@contextmanager
def _autocommit() -> Iterator[bool]:
    """Leave the migration's transaction, where that is possible; yields whether it is."""
    if not _may_commit():
        yield False
        return
    with op.get_context().autocommit_block():
        yield True


def _is_valid(index: str) -> bool:
    query = sa.text("select indisvalid from pg_index where indexrelid = to_regclass(:name)")
    return bool(op.get_bind().execute(query, {"name": f'"{index}"'}).scalar())
