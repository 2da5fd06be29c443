"""The filter of a stream: its key says which app's events it may see, its query which it wants."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.model.event import Event


@dataclass(frozen=True, slots=True)
class View:
    """``app``: whose events may be seen, None for every app's. The rest is the query's filter."""

    app: str | None
    message_id: UUID | None = None
    statuses: frozenset[str] = frozenset()
    reference: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether an event of an app that may be seen passes the filter."""
        return (
            (self.message_id is None or event.message_id == self.message_id)
            and (not self.statuses or event.status in self.statuses)
            and (self.reference is None or event.reference == self.reference)
        )
