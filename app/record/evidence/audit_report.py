"""The result of an audit of the log. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

MOST_FINDINGS = 1_000
"""Findings that are kept; more are counted."""


@dataclass(slots=True)
class AuditReport:
    """``findings``: what is wrong, a sentence each. ``facts``, ``receipts``, ``checkpoints``: how
    many were audited. ``purged`` (rows) and ``erased`` (values): how many are gone as facts say.
    """

    facts: int = 0
    receipts: int = 0
    checkpoints: int = 0
    purged: int = 0
    erased: int = 0
    findings: list[str] = field(default_factory=list)
    left_out: int = 0
    """How many findings there were beyond MOST_FINDINGS."""

    def add(self, finding: str) -> None:
        """Add a finding."""
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(finding)
        else:
            self.left_out += 1
