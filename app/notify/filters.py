"""Which events a reader sees: its key decides what it may, its query what it wants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from app.model.event import Event
from app.model.status import Status

SHOWN = tuple(s for s in Status if s not in (Status.SENDING, Status.UNKNOWN))
"""The statuses that there are events of."""


@dataclass(frozen=True, slots=True)
class View:
    """``app`` is the one whose events may be seen (None: all apps'); the rest is chosen."""

    app: str | None
    message_id: UUID | None = None
    statuses: frozenset[str] = frozenset()
    reference: str | None = None

    def wants(self, event: Event) -> bool:
        """Whether this event of an app that may be seen is among those asked for."""
        return (
            (self.message_id is None or event.message_id == self.message_id)
            and (not self.statuses or event.status in self.statuses)
            and (self.reference is None or event.reference == self.reference)
        )


def read_statuses(values: Iterable[str]) -> frozenset[str]:
    """Statuses, one a value or several with commas. Raises ValueError that names the unknown."""
    named = [name.strip() for value in values for name in value.split(",")]
    for name in named:
        if name.upper() not in SHOWN:
            raise ValueError(f"{name[:40]!r} is none of {', '.join(SHOWN)}")
    return frozenset(name.upper() for name in named)
