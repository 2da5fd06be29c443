"""The audit of what people read: the entry is committed before they are given the answer.

Changes are audited by the store that makes them, in its own transaction. A read has no transaction
that the entry could join, so the entry is committed first.
The caller is authenticated; apps' own reads leave no entry and do not come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from uuid import UUID

from app.errors import StoreUnavailable, Unavailable
from app.model.audit import Action, Actor, AuditFilter, Entry
from app.model.search import Search
from app.store.audit import AuditStore

WINDOW = 300
"""Seconds within which looks at one message by one person, or the pages of one search, make one
entry.
"""
MAX_REMEMBERED = 10_000

_IN_COLUMNS = (
    "destination",
    "destination_ends",
    "not_destination_ends",
    "reference",
    "reference_starts",
    "not_reference_starts",
)


class Auditor:
    """Writes the entries of reads. Raises Unavailable where one cannot be written: nothing is shown
    then.
    """

    def __init__(self, store: AuditStore) -> None:
        self._store = store
        self._written: dict[str, None] = {}
        """The ``once`` of entries that this process has written, which it need not write again."""

    async def looked(self, actor: Actor, ids: Sequence[UUID | str], *, revealed: bool) -> None:
        """Someone is about to be shown these messages; ``revealed``: with texts that they had to
        ask for.
        """
        actions = (Action.LOOK, Action.REVEAL) if revealed else (Action.LOOK,)
        await self._write_once([actor.did(action, one) for one in ids for action in actions])

    async def revealed(self, actor: Actor, ids: Sequence[UUID | str]) -> None:
        """Someone is about to be shown the texts of these messages, in a list."""
        await self._write_once([actor.did(Action.REVEAL, one) for one in ids])

    async def searched(self, actor: Actor, search: Search) -> None:
        """Someone is about to be shown a page of what this finds."""
        await self._write_once([_of_search(actor, Action.SEARCH, search)])

    async def exported(
        self, actor: Actor, search: Search, *, kind: str, limit: int | None, revealed: bool
    ) -> None:
        """Someone is about to be given a file of what this finds. Each export is an entry."""
        entry = _of_search(
            actor, Action.EXPORT, search, format=kind, limit=limit, revealed=revealed or None
        )
        await self._write([entry])

    async def saw_rejected(self, actor: Actor) -> None:
        """Someone is about to be shown rejected calls, word for word."""
        await self._write_once([actor.did(Action.SEE_REJECTED)])

    async def did(self, actor: Actor, action: Action) -> None:
        """Someone is about to do this, which changes nothing else that is recorded."""
        await self._write([actor.did(action)])

    async def page(self, wanted: AuditFilter, *, before: UUID | None, limit: int) -> list[Entry]:
        """Entries, newest first. Raises StoreUnavailable."""
        return await self._store.page(wanted, before=before, limit=limit)

    async def _write_once(self, entries: Sequence[Entry]) -> None:
        new = [_once(entry) for entry in entries]
        new = [entry for entry in new if entry.once not in self._written]
        if not new:
            return
        await self._write(new)
        if len(self._written) > MAX_REMEMBERED:
            self._written.clear()
        self._written.update((entry.once or "", None) for entry in new)

    async def _write(self, entries: Sequence[Entry]) -> None:
        try:
            await self._store.append(entries)
        except StoreUnavailable as error:
            raise Unavailable("Nothing is shown: the audit cannot be written") from error


def _once(entry: Entry) -> Entry:
    """The entry with a ``once`` by which there is one of it in each window."""
    window = int(datetime.now(UTC).timestamp()) // WINDOW
    content = (entry.destination, entry.reference, sorted(entry.details.items()))
    # A digest: numbers may stand only in the columns where erasures look for them.
    digest = blake2b(repr(content).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    what = entry.what or digest
    once = f"{entry.action} {entry.actor.who} {what} {window}"
    return replace(entry, once=once)


def _of_search(
    actor: Actor, action: Action, search: Search, **more: str | int | bool | None
) -> Entry:
    filters: dict[str, str | int | bool | Sequence[str] | None] = {
        name: _shown(value) for name, value in asdict(search).items() if name not in _IN_COLUMNS
    }
    return actor.did(
        action,
        destination=search.destination or search.destination_ends or search.not_destination_ends,
        reference=search.reference or search.reference_starts or search.not_reference_starts,
        details={**filters, **more},
    )


def _shown(value: Any) -> str | bool | list[str] | None:
    if isinstance(value, frozenset):
        return sorted(str(one) for one in value)
    shown: str | bool | None = value.isoformat() if isinstance(value, datetime) else value
    return shown
