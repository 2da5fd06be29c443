"""What an audit of the log has found. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_FINDINGS = 1_000


@dataclass(slots=True)
class Audit:
    """What was gone over, and what is wrong. ``findings`` are sentences, MOST_FINDINGS at most."""

    facts: int = 0
    receipts: int = 0
    checkpoints: int = 0
    purged: int = 0
    erased: int = 0
    findings: list[str] = field(default_factory=list)
    left_out: int = 0

    def find(self, words: str) -> None:
        """Note what is wrong."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(words)
        else:
            self.left_out += 1
