"""When each alarm is raised. Pure: the same situation gives the same alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.model.alarm import AlarmName, Counts, Report
from app.ops.gauges import LITTLE_ROOM

DUE_WITHOUT_WORKER = 20.0
"""Seconds for which a message may be due while no process sends."""
ZONE_LAG = 60.0
"""Seconds by which receipts may come before or after their own time."""
ZONE_RECEIPTS = 3
"""The fewest receipts whose median lag counts."""
HOUR_SLACK = 300.0
REFUSED_RECEIPTS = 10
"""Refused calls to /dlr within five minutes that raise the alarm; of those that we could not store
one does."""
SPOOL_WAIT = 60.0
"""Seconds that a receipt may wait in the spool."""
GROWTH = 5
"""Messages by which a count grows within GROWTH_WITHIN seconds before it is an alarm."""
GROWTH_WITHIN = 900.0
HISTORY_STEP = 30.0
CREDENTIALS_FOR = 3600.0
"""Seconds after which a refusal of our credentials no longer raises the alarm."""
CLOCK_OFFSET = 2.0
FORGOT_FOR = 3600.0
"""Seconds that the alarm stays up after the loss, which is momentary."""


@dataclass(slots=True)
class Memory:
    """What is remembered from one evaluation to the next, by whichever process makes it."""

    last_receipt_at: float = 0.0
    last_submission_at: float = 0.0
    waiting_since: float = 0.0
    """When the first message after the last receipt was accepted; 0: there is none."""
    history: list[tuple[float, int, int]] = field(default_factory=list)
    """(time, unconfirmed, overdue), oldest first."""
    counts: dict[str, Any] = field(default_factory=dict)

    def learn(self, now: float, reports: Sequence[Report], counts: Counts) -> None:
        """Take in what the processes report now, and what the tables say."""
        receipt = max((one.last_receipt_at for one in reports), default=0.0)
        submission = max((one.last_submission_at for one in reports), default=0.0)
        self.last_receipt_at = max(self.last_receipt_at, receipt)
        self.last_submission_at = max(self.last_submission_at, submission)
        if self.last_receipt_at >= self.last_submission_at:
            self.waiting_since = 0.0
        elif self.waiting_since <= self.last_receipt_at:
            self.waiting_since = self.last_submission_at
        if not self.history or now - self.history[-1][0] >= HISTORY_STEP:
            self.history.append((now, counts.unconfirmed, counts.overdue))
        self.history = [one for one in self.history if now - one[0] <= GROWTH_WITHIN]
        self.counts = asdict(counts)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that alarms are raised from. ``now``: seconds since 1970, by the database's clock."""

    now: float
    reports: Sequence[Report]
    counts: Counts
    memory: Memory
    silence_after: float


def evaluate(situation: Situation) -> dict[AlarmName, str]:
    """The alarms that are up, each with its reason in words."""
    found = {name: rule(situation) for name, rule in RULES.items()}
    return {name: detail for name, detail in found.items() if detail}


def _silence(s: Situation) -> str | None:
    since = s.memory.waiting_since
    if not since or s.now - since < s.silence_after:
        return None
    return (
        f"iovox accepted messages, and no receipt has come for {_time(s.now - since)}: are calls "
        "to DLR_PUBLIC_URL/dlr let through?"
    )


def _no_worker(s: Situation) -> str | None:
    if any(one.works for one in s.reports):
        return None
    if s.counts.due_for >= DUE_WITHOUT_WORKER:
        return (
            f"{s.counts.queued} messages are queued, one is due for {_time(s.counts.due_for)}, "
            "and no process sends them: start `dlr worker`"
        )
    if s.counts.webhook_backlog:
        return (
            f"{s.counts.webhook_backlog} deliveries wait for webhooks, and no process makes them: "
            "start `dlr worker`"
        )
    return None


def _zone(s: Situation) -> str | None:
    worst = max(
        (one for one in s.reports if one.lags >= ZONE_RECEIPTS),
        key=lambda one: abs(one.lag),
        default=None,
    )
    if worst is None or abs(worst.lag) < ZONE_LAG:
        return None
    side = "behind" if worst.lag > 0 else "ahead of"
    hours = round(worst.lag / 3600)
    off = abs(worst.lag - 3600 * hours)
    why = (
        f", which is {abs(hours)} h: somebody's time zone is wrong"
        if hours and off < HOUR_SLACK
        else ""
    )
    return (
        f"The times in receipts are {abs(worst.lag):.0f} s {side} their arrival (median of "
        f"{worst.lags}){why}"
    )


def _refused(s: Situation) -> str | None:
    refused: Counter[str] = Counter()
    for one in s.reports:
        refused.update(one.refusals)
    if refused["unavailable"] or refused.total() >= REFUSED_RECEIPTS:
        reasons = ", ".join(f"{count} {name}" for name, count in sorted(refused.items()))
        return f"Calls to /dlr were refused within five minutes: {reasons}"
    return None


def _spool(s: Situation) -> str | None:
    for one in s.reports:
        if one.spooled and one.spool_oldest >= SPOOL_WAIT:
            return (
                f"{one.spooled} receipts are in the spool of {one.host}, the oldest for "
                f"{_time(one.spool_oldest)}, and are not carried into the database"
            )
    return None


def _disk(s: Situation) -> str | None:
    for one in s.reports:
        if one.spool_free is not None and one.spool_free < LITTLE_ROOM:
            return f"The disk of the spool of {one.host} has {one.spool_free // 1024**2} MiB left"
    return None


def _growing(name: str, now: int, before: Sequence[int]) -> str | None:
    grown = now - min(before, default=now)
    if grown < GROWTH:
        return None
    return f"{now} messages are {name}, {grown} more than {_time(GROWTH_WITHIN)} ago at most"


def _unconfirmed(s: Situation) -> str | None:
    return _growing("UNCONFIRMED", s.counts.unconfirmed, [one[1] for one in s.memory.history])


def _overdue(s: Situation) -> str | None:
    return _growing("overdue", s.counts.overdue, [one[2] for one in s.memory.history])


def _credentials(s: Situation) -> str | None:
    at = max((one.credentials_refused_at for one in s.reports), default=0.0)
    if not at or at < s.memory.last_submission_at or s.now - at > CREDENTIALS_FOR:
        return None
    return (
        "iovox refuses our credentials (401 or 403): check DLR_IOVOX_USERNAME, "
        "DLR_IOVOX_SECURE_KEY and our source address"
    )


def _webhook(s: Situation) -> str | None:
    paused = s.counts.webhooks_paused
    return f"Webhooks that were paused because their receivers fail: {paused}" if paused else None


def _clock(s: Situation) -> str | None:
    for one in s.reports:
        if abs(one.clock_ahead) > CLOCK_OFFSET:
            side = "ahead of" if one.clock_ahead > 0 else "behind"
            return (
                f"The clock of {one.host} is {abs(one.clock_ahead):.1f} s {side} the database's: "
                "have NTP set both"
            )
    return None


def _forgot(s: Situation) -> str | None:
    at = max((one.forgot_at for one in s.reports), default=0.0)
    if not at or s.now - at > FORGOT_FOR:
        return None
    return f"The database lost what it had committed before (seen {_time(s.now - at)} ago)"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


RULES: Mapping[AlarmName, Callable[[Situation], str | None]] = {
    AlarmName.SILENCE: _silence,
    AlarmName.NO_WORKER: _no_worker,
    AlarmName.ZONE: _zone,
    AlarmName.RECEIPTS_REFUSED: _refused,
    AlarmName.SPOOL_NOT_DRAINING: _spool,
    AlarmName.SPOOL_DISK_FULL: _disk,
    AlarmName.UNCONFIRMED_GROWING: _unconfirmed,
    AlarmName.OVERDUE_GROWING: _overdue,
    AlarmName.CREDENTIALS: _credentials,
    AlarmName.WEBHOOK_PAUSED: _webhook,
    AlarmName.CLOCK: _clock,
    AlarmName.DATABASE_FORGOT: _forgot,
}
