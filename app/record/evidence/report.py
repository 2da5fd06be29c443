"""What is said of a document that was verified. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

NOT_SHOWN = (
    "that the log has everything that happened, or anything later than these facts",
    "that what is in it was true when it was recorded: iovox signs nothing",
    "that nobody was shown another log, unless a witness co-signed or you compare checkpoints",
)
"""What no such proof can show."""


@dataclass(slots=True)
class Report:
    """``faults``: why it is not verified. ``holds``: what was checked. ``notes``: what to know."""

    faults: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    """Of the document's bytes: its fingerprint."""

    @property
    def is_verified(self) -> bool:
        """Whether everything that was looked at holds, and there was something."""
        return not self.faults and bool(self.holds)
