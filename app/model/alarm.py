"""Alarms, what they are raised from, and their webhooks' payload. Pure values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from app.model.event import rfc3339
from app.model.webhook import Payload


class AlarmName(StrEnum):
    """Every alarm; each has its section in docs/operations.md and its rule in deploy/alerts.yml."""

    SILENCE = "silence"
    NO_WORKER = "no-worker"
    ZONE = "zone"
    RECEIPTS_REFUSED = "receipts-refused"
    SPOOL_NOT_DRAINING = "spool-not-draining"
    SPOOL_DISK_FULL = "spool-disk-full"
    UNCONFIRMED_GROWING = "unconfirmed-growing"
    OVERDUE_GROWING = "overdue-growing"
    CREDENTIALS = "credentials"
    WEBHOOK_PAUSED = "webhook-paused"
    CLOCK = "clock"
    DATABASE_FORGOT = "database-forgot"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm since its last beginning; ``ended_at`` is None while it lasts."""

    name: AlarmName
    detail: str
    began_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one process reports for all. Times are seconds since 1970, 0 for never."""

    host: str
    works: bool = False
    """Whether it sends what is queued and delivers webhooks."""
    last_receipt_at: float = 0.0
    last_submission_at: float = 0.0
    credentials_refused_at: float = 0.0
    forgot_at: float = 0.0
    """When it saw that the database had forgotten something."""
    refusals: dict[str, int] = field(default_factory=dict)
    """Calls to /dlr that were refused lately, by reason."""
    lags: int = 0
    lag: float = 0.0
    """The median of this many receipts' lags lately, in seconds."""
    spooled: int = 0
    spool_oldest: float = 0.0
    spool_free: int | None = None
    clock_ahead: float = 0.0
    receives: bool = False
    """Whether it takes receipts."""
    salt: str = ""
    secrets: list[str] = field(default_factory=list)
    """Short digests, under ``salt``, of the callback secrets that it knows."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the tables say, read once for all replicas. Counts stop at a bound."""

    queued: int = 0
    due_for: float = 0.0
    """Seconds for which the message that is due for longest has been due."""
    sending: int = 0
    unconfirmed: int = 0
    overdue: int = 0
    unmatched: int = 0
    webhook_backlog: int = 0
    webhooks_paused: int = 0


def changes(before: Sequence[Alarm], up: Mapping[AlarmName, str], now: datetime) -> list[Alarm]:
    """The alarms that begin or end now; ``up`` are those that last, each with its reason."""
    lasting = {alarm.name: alarm for alarm in before if alarm.ended_at is None}
    began = [Alarm(name, detail, now) for name, detail in up.items() if name not in lasting]
    ended = [replace(alarm, ended_at=now) for name, alarm in lasting.items() if name not in up]
    return began + ended


def alarm_payload(alarm: Alarm) -> Payload:
    """What a webhook is sent when an alarm begins or ends, in the form of Standard Webhooks."""
    kind = "alarm.ended" if alarm.ended_at else "alarm.began"
    data = {
        "alarm": alarm.name,
        "detail": alarm.detail,
        "began_at": rfc3339(alarm.began_at),
        "ended_at": rfc3339(alarm.ended_at) if alarm.ended_at else None,
    }
    at = alarm.ended_at or alarm.began_at
    return Payload(kind, json.dumps({"type": kind, "timestamp": rfc3339(at), "data": data}))
