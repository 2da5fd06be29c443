"""The outbox's statements, built once: building one costs more than running it.

Parameters: ``webhook`` is its id, ``ours`` the lease of the calling process.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    Integer,
    Select,
    Text,
    Uuid,
    bindparam,
    case,
    delete,
    false,
    func,
    null,
    or_,
    select,
    true,
    update,
)

from app.model.webhook import ALARM, CONTRADICTED, DeliveryState, WebhookState
from app.store.column_types import UtcTime
from app.store.json_arrays import Appended
from app.store.outbox.attempts import KEPT
from app.store.outbox.deliveries import COLUMNS as DELIVERY_COLUMNS
from app.store.tables import events, messages, webhook_deliveries, webhooks
from app.store.webhooks import COLUMNS

STRIDE = 5_000
"""Events above a webhook's position, none of which it subscribes to, after which the position is
moved past them."""

_outbox, _hooks = webhook_deliveries.c, webhooks.c
_webhook, _ours = bindparam("webhook", type_=Uuid()), bindparam("ours", type_=Uuid())
_now, _until = bindparam("now", type_=UtcTime()), bindparam("until", type_=UtcTime())
_ids = bindparam("ids", expanding=True, type_=Uuid())

_active = _hooks.state == WebhookState.ACTIVE
_pending = _outbox.state == DeliveryState.PENDING
_free = or_(_hooks.lease.is_(None), _hooks.lease == _ours, _hooks.lease_until < _now)
_held = (_hooks.id == _webhook) & (_hooks.lease == _ours)
_is_alarm = _outbox.type.startswith(f"{ALARM.lower()}.")
_of_webhook = (_outbox.webhook_id == _webhook) & _pending


def _waiting(*, only_alarms: bool = False) -> Select[Any]:
    wanted = select(events.c.id).where(
        events.c.id > _hooks.position,
        or_(_hooks.app.is_(None), events.c.app == _hooks.app),
        or_(
            (" " + _hooks.statuses + " ").contains(" " + events.c.status + " "),
            events.c.contradictory & (" " + _hooks.statuses + " ").contains(f" {CONTRADICTED} "),
        ),
    )
    newest = select(func.max(events.c.id)).scalar_subquery()
    due = select(_outbox.id).where(
        _outbox.webhook_id == _hooks.id, _pending, _outbox.next_attempt_at <= _now
    )
    has_events = or_(wanted.exists(), newest - _hooks.position > STRIDE)
    if only_alarms:
        due, has_events = due.where(_is_alarm), false()
    return select(_hooks.id, has_events, due.exists()).where(
        _active, _free, or_(_hooks.not_before.is_(None), _hooks.not_before <= _now)
    )


def _due(*, only_alarms: bool = False) -> Select[Any]:
    earlier = webhook_deliveries.alias("earlier")
    blocked = select(earlier.c.id).where(
        earlier.c.webhook_id == _outbox.webhook_id,
        earlier.c.state == DeliveryState.PENDING,
        earlier.c.message_id == _outbox.message_id,
        earlier.c.event_id < _outbox.event_id,
    )
    # The log of earlier attempts is not needed for the next one, and can be long.
    needed = [each for each in DELIVERY_COLUMNS if each.key != "attempt_log"]
    return (
        select(*needed, null().label("attempt_log"))
        .where(
            _of_webhook,
            _outbox.next_attempt_at <= _now,
            _outbox.id.not_in(bindparam("under_way", expanding=True, type_=Uuid())),
            ~blocked.exists(),
            _is_alarm if only_alarms else true(),
        )
        .order_by(_outbox.next_attempt_at, _outbox.id)
        .limit(bindparam("limit"))
    )


def events_for(app: str | None, statuses: Collection[str], after: int, until: int) -> Select[Any]:
    """The events that a webhook subscribes to, oldest first."""
    has_status = events.c.status.in_(statuses)
    is_wanted = or_(has_status, events.c.contradictory) if CONTRADICTED in statuses else has_status
    query = select(events).where(events.c.id > after, events.c.id <= until, is_wanted)
    if app is not None:
        query = query.where(events.c.app == app)
    return query.order_by(events.c.id)


WAITING, WAITING_ALARMS = _waiting(), _waiting(only_alarms=True)
DUE, DUE_ALARMS = _due(), _due(only_alarms=True)
CLAIM = (
    update(webhooks)
    .where(_hooks.id.in_(_ids), _active, _free)
    .values(lease=_ours, lease_until=_until)
    .returning(*COLUMNS)
)
HELD = select(*COLUMNS).where(_held)
RENEW = update(webhooks).where(_hooks.lease == _ours).values(lease_until=_until)
RELEASE = (
    update(webhooks)
    .where(_hooks.id.in_(_ids), _hooks.lease == _ours)
    .values(lease=None, lease_until=None)
)

POSITION = select(_hooks.app, _hooks.statuses, _hooks.position).where(_held).with_for_update()
PENDING = select(func.count()).select_from(webhook_deliveries).where(_of_webhook)
NEWEST = select(func.max(events.c.id))
ADVANCE = update(webhooks).where(_hooks.id == _webhook).values(position=bindparam("end"))

# Where a message was erased, or its text is no longer kept, no response may bring its text back.
_is_textless = (
    select(messages.c.id)
    .where(messages.c.id == _outbox.message_id, messages.c.message == "")
    .correlate(webhook_deliveries)
    .exists()
)
_attempt = case(
    (_is_textless, bindparam("without_response", type_=Text())),
    else_=bindparam("with_response", type_=Text()),
)
# A delivery that was replayed since the attempt began is sent again, however the attempt ended.
ATTEMPTED = (
    update(webhook_deliveries)
    .where(
        _outbox.id == bindparam("delivery", type_=Uuid()),
        _outbox.replays == bindparam("seen_replays"),
        _pending,
    )
    .values(
        state=bindparam("new_state", type_=Text()),
        attempts=_outbox.attempts + 1,
        first_attempt_at=func.coalesce(_outbox.first_attempt_at, bindparam("at", type_=UtcTime())),
        next_attempt_at=bindparam("next_at", type_=UtcTime()),
        ended_at=bindparam("new_ended_at", type_=UtcTime()),
        status_code=bindparam("new_status_code", type_=Integer()),
        error=bindparam("new_error", type_=Text()),
        attempt_log=Appended(_outbox.attempt_log, _attempt, newest=KEPT),
    )
)
# Only if active: an owner's pause is not undone by attempts that were under way.
HEALTH = (
    update(webhooks)
    .where(_held, _active)
    .values(
        state=bindparam("new_state", type_=Text()),
        reason=bindparam("new_reason", type_=Text()),
        failures=bindparam("new_failures"),
        failing_since=bindparam("new_since", type_=UtcTime()),
        not_before=bindparam("new_not_before", type_=UtcTime()),
    )
    .returning(_hooks.id)
)
CANCEL = (
    update(webhook_deliveries)
    .where(_of_webhook)
    .values(state=DeliveryState.CANCELLED, ended_at=_now, next_attempt_at=None)
)
RETRY_NOW = (
    update(webhook_deliveries)
    .where(_of_webhook, _outbox.next_attempt_at > _now)
    .values(next_attempt_at=_now)
)
DELETE_ENDED = (
    delete(webhook_deliveries)
    .where(
        _outbox.id.in_(
            select(_outbox.id)
            .where(_outbox.ended_at < bindparam("before", type_=UtcTime()))
            .order_by(_outbox.ended_at)
            .limit(bindparam("limit"))
        )
    )
    .returning(_outbox.id)
)
