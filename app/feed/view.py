"""Which events a reader sees: its key decides what it may see, its query what it wants."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from app.model.event import Event


@dataclass(frozen=True, slots=True)
class View:
    """``app`` is the one whose events may be seen (None: all apps'); the rest is chosen."""

    app: str | None
    message_id: UUID | None = None
    statuses: frozenset[str] = frozenset()
    reference: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether an event of an app that may be seen is one of those asked for."""
        return (
            (self.message_id is None or event.message_id == self.message_id)
            and (not self.statuses or event.status in self.statuses)
            and (self.reference is None or event.reference == self.reference)
        )
