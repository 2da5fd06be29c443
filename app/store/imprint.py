"""The imprint of an incarnation's row, which tells it from the same row that a restore put back.

It is a digest of which database, table and transaction wrote the row: a restored dump writes all
rows anew, however little was lost. On SQLite it is the schema's version, which a copy that is put
back into the open file raises; a migration does as well, which costs a needless check.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from app.store.engine import Database

IMPRINT_SIZE = 15
"""Bytes of ``Imprint.row``."""
_IMPRINT = """
concat_ws('/', (select oid from pg_database where datname = current_database()),
  incarnations.tableoid, incarnations.xmin)
"""
_SQLITE_IMPRINT = "(select schema_version from pragma_schema_version)"


class Imprint(NamedTuple):
    """A digest, and whether the row says that an operator released the queue."""

    row: bytes
    is_released: bool

    def is_still(self, found: Imprint) -> bool:
        """Whether the row found is the one known, not a restored one. A release of the queue writes
        the row anew, too, and is no restore.
        """
        return found.row == self.row or (found.is_released and not self.is_released)


def imprint_sql(database: Database) -> str:
    """An expression for ``imprint``, in a statement that reads ``incarnations``."""
    return _SQLITE_IMPRINT if database.is_sqlite else _IMPRINT


def imprint(found: object, *, is_released: bool) -> Imprint:
    """That of an incarnation's row, by what ``imprint_sql`` found."""
    row = blake2b(str(found).encode(), digest_size=IMPRINT_SIZE).digest()
    return Imprint(row, is_released)
