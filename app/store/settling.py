"""Settles messages: their own states change under their leases, in the caller's transaction."""

from __future__ import annotations

import json
from collections.abc import Iterable

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.message import Outcome
from app.model.status import Status
from app.store.events import NewEvent
from app.store.json_arrays import Appended
from app.store.message_rows import errors_json
from app.store.recording import step_json
from app.store.tables import messages


async def settle_each(connection: AsyncConnection, outcomes: Iterable[Outcome]) -> list[NewEvent]:
    """Update messages under their leases, in the order of their ids: the order of locks everywhere.

    Returns an event for each that was updated; the others' leases were lost.
    """
    events = []
    for outcome in sorted(outcomes, key=lambda one: one.message_id):
        app = await settle_one(connection, outcome)
        if app is not None:
            step = outcome.step
            events.append(NewEvent(outcome.message_id, app, None, step.status, step.at))
    return events


def announced(events: Iterable[NewEvent], outcomes: Iterable[Outcome]) -> list[NewEvent]:
    """Those events of settled messages that are to be written."""
    ids = {outcome.message_id for outcome in outcomes if outcome.announce}
    return [event for event in events if event.message_id in ids]


async def settle_one(connection: AsyncConnection, outcome: Outcome) -> str | None:
    """Update one message under its lease; returns its app, or None if the lease was lost."""
    step = outcome.step
    queued = step.status is Status.QUEUED
    entry = json.dumps(step_json(step), ensure_ascii=False)
    changed = (
        update(messages)
        .where(
            messages.c.id == outcome.message_id,
            messages.c.state == (Status.QUEUED if outcome.lease is None else Status.SENDING),
            messages.c.lease == outcome.lease if outcome.lease else messages.c.lease.is_(None),
        )
        .values(
            state=step.status,
            state_at=step.at,
            steps=Appended(messages.c.steps, entry),
            errors=errors_json(outcome.errors),
            attempts=messages.c.attempts + int(outcome.attempted),
            next_attempt_at=outcome.next_attempt_at,
            announced=1 if queued else messages.c.announced,
            lease=None,
            lease_until=None,
        )
        .returning(messages.c.app)
    )
    app = (await connection.execute(changed)).scalar_one_or_none()
    return None if app is None else str(app)
