"""The result of verifying a document. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

NOT_SHOWN = (
    "that the log has everything that happened, or anything later than these facts",
    "that what is in it was true when it was recorded: iovox signs nothing",
    "that nobody was shown another log, unless a witness co-signed or you compare checkpoints",
)
"""What no document can show, even if it is verified."""


@dataclass(slots=True)
class Report:
    """``faults``: why it is not verified. ``holds``: what was verified. ``notes``: the rest that
    the reader should know.
    """

    faults: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    digest: str = ""
    """SHA-256 of the document's bytes, in hexadecimal."""

    @property
    def is_verified(self) -> bool:
        """Whether there is no fault, and something was verified."""
        return not self.faults and bool(self.holds)
