"""What all processes know of each other: their reports, whose turn it is to look, the alarms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects import sqlite as lite
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.alarm import Alarm, AlarmName, Report, alarm_payload, changes
from app.model.webhook import ALARM, WebhookState
from app.store.engine import Database
from app.store.outbox.deliveries import insert_pending
from app.store.tables import alarms, operations, process_reports, webhooks

KEEP_REPORTS = timedelta(hours=1)
PATIENCE = 5.0
"""Seconds for a transaction."""

_NAME = "service"
_TURN = "turn"
"""In the state: the turn that it was found in."""


@dataclass(frozen=True, slots=True)
class SharedState:
    """What all processes together know. ``turn`` only grows, unless the database forgets."""

    turn: int
    is_mine: bool
    """Whether it is this process's turn to look."""
    state: dict[str, Any]
    alarms: Sequence[Alarm]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What began and ended with a turn, and how all alarms stand then."""

    changed: Sequence[Alarm]
    alarms: Sequence[Alarm]
    is_told: bool
    """Whether there are webhooks that are told."""


class OperationsStore:
    """Raises StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(
        self, process: UUID, report: Report, *, now: datetime, every: timedelta
    ) -> SharedState:
        """Say how a process is; returns what is known. A turn is given out once in ``every``."""
        async with self._database.write(patience=PATIENCE) as connection:
            upsert = _upsert(connection)
            values = {"at": now, "report": json.dumps(asdict(report))}
            await connection.execute(
                upsert(process_reports)
                .values(id=process, **values)
                .on_conflict_do_update(index_elements=["id"], set_=values)
            )
            await connection.execute(
                upsert(operations)
                .values(name=_NAME, turn=0, at=now - 2 * every, state="{}")
                .on_conflict_do_nothing()
            )
            # A time ahead of ours is of a clock that was set: nobody would have a turn till then.
            is_due = or_(operations.c.at <= now - every, operations.c.at > now + every)
            mine = await connection.execute(
                update(operations).where(is_due).values(turn=operations.c.turn + 1, at=now)
            )
            row = (await connection.execute(select(operations.c.turn, operations.c.state))).one()
            state = json.loads(row.state)
            state.pop(_TURN, None)
            return SharedState(row.turn, bool(mine.rowcount), state, await _alarms(connection))

    async def sign_off(self, process: UUID) -> None:
        """A process ends: what it reported is no longer so."""
        async with self._database.write(patience=PATIENCE) as connection:
            await connection.execute(delete(process_reports).where(process_reports.c.id == process))

    async def reports(self, *, since: datetime) -> list[Report]:
        """What processes have reported since then."""
        query = select(process_reports.c.report).where(process_reports.c.at >= since)
        async with self._database.read(patience=PATIENCE) as connection:
            return [_report_of(row.report) for row in await connection.execute(query)]

    async def alarms(self) -> list[Alarm]:
        """The last time of each alarm, those that last first, then the newest."""
        async with self._database.read() as connection:
            return await _alarms(connection)

    async def conclude(
        self, turn: int, state: dict[str, Any], up: Mapping[AlarmName, str], *, now: datetime
    ) -> Conclusion:
        """Keep what was found in this turn, and tell the webhooks that want alarms.

        What begins and ends is told by what is stored at the end of a turn: the next one may have
        been given out meanwhile, and both have seen the same alarm begin. Nothing is kept where a
        later turn came to its end first, which has seen more.
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
                    _upsert(connection)(alarms)
                    .values(**values)
                    .on_conflict_do_update(index_elements=["name"], set_=values)
                )
            is_told = bool(changed) and await _tell(connection, changed, now)
            return Conclusion(changed, await _alarms(connection), is_told)


def _report_of(text: str) -> Report:
    """Without what another release says besides."""
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


def _upsert(connection: AsyncConnection) -> Any:
    return lite.insert if connection.dialect.name == "sqlite" else pg.insert
