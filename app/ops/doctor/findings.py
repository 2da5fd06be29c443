"""What the doctor finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``remedy`` says what to do where it is not right."""

    check: str
    words: str
    remedy: str | None = None

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to do."""
        return self.remedy is None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {"ok": self.is_good, **asdict(self)}
