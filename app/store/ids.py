"""Ids as the PostgreSQL driver's own kind of UUID: equal to Python's in every way, and a sixth of
the cost to make, which counts where several are made for every receipt.
"""

from __future__ import annotations

from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto


def new_id() -> UUID:
    """A new UUID of version 7, so in the order of time."""
    made: UUID = pgproto.UUID(uuid_utils.uuid7().bytes)
    return made


def id_of(text: str) -> UUID:
    """The UUID that is written so. Raises ValueError."""
    read: UUID = pgproto.UUID(text)
    return read
