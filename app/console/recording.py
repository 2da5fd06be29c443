"""Tells the audit what people look at, before it is shown to them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import Request


class Recording:
    """Each method raises Unavailable where it cannot be recorded: nothing is shown then."""

    async def looked(
        self, request: Request, ids: Sequence[UUID | str], *, revealed: bool = False
    ) -> None:
        """Somebody is about to be shown these messages; ``revealed``: with their texts."""
