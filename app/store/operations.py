"""The state that all processes share: their reports, whose turn it is to evaluate it, the alarms.

Once per interval one process has the turn: it counts, decides on alarms and stores the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.alarm import Alarm, AlarmName, Report, alarm_payload, changes
from app.model.webhook import ALARM, WebhookState
from app.store.engine import Database
from app.store.outbox.deliveries import insert_pending
from app.store.tables import alarms, operations, process_reports, webhooks
from app.store.upsert import upsert

KEEP_REPORTS = timedelta(hours=1)
PATIENCE = 5.0
"""Seconds for a transaction."""

_NAME = "service"
_TURN = "turn"
"""The member of the stored state that has the turn in which it was evaluated."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """The stored state. ``turn``, the newest, only grows unless the database loses something."""

    turn: int
    is_mine: bool
    """Whether this process has that turn."""
    state: dict[str, Any]
    alarms: Sequence[Alarm]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The alarms that began or ended with a turn, and all alarms after it."""

    changed: Sequence[Alarm]
    alarms: Sequence[Alarm]
    is_told: bool
    """Whether deliveries to webhooks were added for those that changed."""


class OperationsStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(
        self, process: UUID, report: Report, *, now: datetime, every: timedelta
    ) -> SharedState:
        """Store a process's report; returns the shared state.

        The turn is given to one process in each ``every``.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            values = {"at": now, "report": json.dumps(asdict(report))}
            await connection.execute(
                upsert(connection, process_reports)
                .values(id=process, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )
            await connection.execute(
                upsert(connection, operations)
                .values(name=_NAME, turn=0, at=now - 2 * every, state="{}")
                .on_conflict_do_nothing()
            )
            # A time in the future is from before a clock was set back: no turn would be due until
            # then.
            is_due = or_(operations.c.at <= now - every, operations.c.at > now + every)
            mine = await connection.execute(
                update(operations).where(is_due).values(turn=operations.c.turn + 1, at=now)
            )
            row = (await connection.execute(select(operations.c.turn, operations.c.state))).one()
            state = json.loads(row.state)
            state.pop(_TURN, None)
            return SharedState(row.turn, bool(mine.rowcount), state, await _alarms(connection))

    async def sign_off(self, process: UUID) -> None:
        """Delete the report of a process that ends."""
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(delete(process_reports).where(process_reports.c.id == process))

    async def reports(self, *, since: datetime) -> list[Report]:
        """The latest report of each process that has reported since then."""
        query = select(process_reports.c.report).where(process_reports.c.at >= since)
        async with self._database.read(patience=PATIENCE) as connection:
            return [_report_of(row.report) for row in await connection.execute(query)]

    async def alarms(self) -> list[Alarm]:
        """The latest occurrence of each alarm: first those that last, each group by beginning."""
        async with self._database.read() as connection:
            return await _alarms(connection)

    async def conclude(
        self, turn: int, state: dict[str, Any], up: Mapping[AlarmName, str], *, now: datetime
    ) -> Conclusion:
        """Store the result of a turn: its state and the alarms that are ``up``, with their details.
        Adds deliveries to the webhooks that subscribe to alarms.

        Which alarms begin and end is decided against what is stored now, not what the turn began
        with: the next turn may have been given out meanwhile, and have seen the same alarm begin.
        Nothing is stored if a later turn ended first, since that has seen more.
        """
        async with self._database.write(patience=PATIENCE) as connection:
            stored = await connection.execute(select(operations.c.state).with_for_update())
            before = await _alarms(connection)
            if json.loads(stored.scalar_one_or_none() or "{}").get(_TURN, 0) >= turn:
                return Conclusion([], before, is_told=False)
            kept = json.dumps(state | {_TURN: turn})
            await connection.execute(update(operations).values(state=kept))
            await connection.execute(
                delete(process_reports).where(process_reports.c.at < now - KEEP_REPORTS)
            )
            changed = changes(before, up, now)
            for alarm in changed:
                values = asdict(alarm)
                await connection.execute(
                    upsert(connection, alarms)
                    .values(**values)
                    .on_conflict_do_update(index_elements=["name"], set_=values)
                )
            is_told = bool(changed) and await _tell(connection, changed, now)
            return Conclusion(changed, await _alarms(connection), is_told)


def _report_of(text: str) -> Report:
    """The report, without members that only another release knows."""
    known = {field.name for field in fields(Report)}
    return Report(**{name: value for name, value in json.loads(text).items() if name in known})


async def _alarms(connection: AsyncConnection) -> list[Alarm]:
    known = alarms.c.name.in_([*AlarmName])
    query = select(alarms).where(known).order_by(alarms.c.ended_at.is_not(None), alarms.c.began_at)
    return [
        Alarm(AlarmName(row.name), row.detail, row.began_at, row.ended_at)
        for row in await connection.execute(query)
    ]


async def _tell(connection: AsyncConnection, changed: Sequence[Alarm], now: datetime) -> bool:
    wants = (" " + webhooks.c.statuses + " ").contains(f" {ALARM} ")
    query = select(webhooks.c.id).where(
        webhooks.c.app.is_(None), webhooks.c.state != WebhookState.ENDED, wants
    )
    found = (await connection.execute(query)).scalars().all()
    for webhook_id in found:
        await insert_pending(connection, webhook_id, [alarm_payload(one) for one in changed], now)
    return bool(found)
