"""Subscriptions of webhooks. A caller of one app sees that app's subscriptions only.

Secrets are stored, because a signature cannot be made from a digest: encrypted where there is a key
for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, Label, Row, case, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.model.audit import Entry
from app.model.webhook import DeliveryState, Webhook, WebhookState
from app.parts.sealing import CannotOpen, Sealer
from app.store.audit import append
from app.store.engine import Database
from app.store.tables import api_keys, events, webhook_deliveries, webhooks

log = structlog.get_logger(__name__)


def _key_revoked() -> Label[bool]:
    """Whether the API key that made the webhook is revoked. If it is unknown which one did: whether
    every key that could have is.
    """
    could_have = or_(
        api_keys.c.app == webhooks.c.app,
        webhooks.c.app.is_(None) & (" " + api_keys.c.scopes + " ").like("% admin %"),
    )
    its_key = case(
        (webhooks.c.key_id.is_not(None), api_keys.c.id == webhooks.c.key_id), else_=could_have
    )
    valid = select(api_keys.c.id).where(its_key, api_keys.c.revoked_at.is_(None))
    return (~valid.correlate(webhooks).exists()).label("key_revoked")


COLUMNS = (
    *(
        webhooks.c[name]
        for name in (
            "id", "app", "url", "statuses", "secret", "previous_secret", "previous_secret_until",
            "state", "reason", "created_at", "failures", "failing_since", "not_before", "key_id",
        )
    ),
)  # fmt: skip
_SHOWN = (*COLUMNS, _key_revoked())
"""For owners, who are shown whether the key is revoked; deliverers do not need that."""

_HEALTHY = {"failures": 0, "failing_since": None, "not_before": None}


class WebhookStore:
    """``sees`` is the app whose subscriptions the caller may see, or None for all.

    ``entry`` is the audit's, appended where something was changed.
    """

    def __init__(self, database: Database, sealer: Sealer | None = None) -> None:
        self._database = database
        self._sealer = sealer or Sealer()

    async def add(self, new: Webhook, *, most: int, entry: Entry | None = None) -> bool:
        """Record a subscription to events from now on; False if the app has ``most`` already."""
        newest = select(func.coalesce(func.max(events.c.id), 0)).scalar_subquery()
        async with self._database.write() as connection:
            same_app = webhooks.c.app == new.app if new.app else webhooks.c.app.is_(None)
            count = await connection.execute(
                select(func.count()).select_from(webhooks).where(same_app)
            )
            if count.scalar_one() >= most:
                return False
            await connection.execute(
                insert(webhooks).values(
                    id=new.id,
                    app=new.app,
                    url=new.url,
                    statuses=" ".join(new.statuses),
                    secret=self._sealer.seal(new.secret or ""),
                    state=new.state,
                    created_at=new.created_at,
                    position=newest,
                    key_id=new.key_id,
                )
            )
            await append(connection, [entry])
            return True

    async def all(self, *, sees: str | None) -> list[Webhook]:
        """Every subscription, oldest first."""
        query = select(*_SHOWN).order_by(webhooks.c.id)
        if sees is not None:
            query = query.where(webhooks.c.app == sees)
        async with self._database.read() as connection:
            return [self._webhook(row) for row in await connection.execute(query)]

    async def find(self, webhook_id: UUID, *, sees: str | None) -> Webhook | None:
        """One subscription; None if there is none that the caller may see."""
        query = select(*_SHOWN).where(_visible(webhook_id, sees))
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else self._webhook(row)

    async def change(
        self,
        webhook_id: UUID,
        *,
        sees: str | None,
        now: datetime,
        url: str | None = None,
        statuses: tuple[str, ...] | None = None,
        paused: bool | None = None,
        entry: Entry | None = None,
    ) -> Webhook | None:
        """Change what is not None; returns None if there is no such webhook, or it has ended.

        While it is paused nothing is sent and nothing is lost: on resuming, events since then are
        sent, and pending deliveries at once, their attempts counted from zero.
        """
        which = _visible(webhook_id, sees) & (webhooks.c.state != WebhookState.ENDED)
        async with self._database.write() as connection:
            changed = await self._update(
                connection, which, _changes(url=url, statuses=statuses, paused=paused)
            )
            if changed is not None and paused is False:
                await connection.execute(
                    update(webhook_deliveries)
                    .where(
                        webhook_deliveries.c.webhook_id == webhook_id,
                        webhook_deliveries.c.state == DeliveryState.PENDING,
                    )
                    .values(attempts=0, first_attempt_at=None, next_attempt_at=now)
                )
            await append(connection, [entry] if changed else [])
            return changed

    async def rotate(
        self,
        webhook_id: UUID,
        secret: str,
        *,
        previous_until: datetime,
        sees: str | None,
        entry: Entry | None = None,
    ) -> Webhook | None:
        """Set a new secret; the previous one stays valid until then."""
        values = {
            "previous_secret": webhooks.c.secret,
            "previous_secret_until": previous_until,
            "secret": self._sealer.seal(secret),
        }
        async with self._database.write() as connection:
            changed = await self._update(connection, _visible(webhook_id, sees), values)
            await append(connection, [entry] if changed else [])
            return changed

    async def remove(
        self, webhook_id: UUID, *, sees: str | None, entry: Entry | None = None
    ) -> bool:
        """Delete a subscription and its deliveries; False if there is none."""
        async with self._database.write() as connection:
            removed = await connection.execute(
                delete(webhooks).where(_visible(webhook_id, sees)).returning(webhooks.c.id)
            )
            is_removed = removed.one_or_none() is not None
            await append(connection, [entry] if is_removed else [])
            return is_removed

    async def reseal(self, *, plain: bool = False) -> tuple[int, int]:
        """Encrypt every secret by the newest key, or decrypt it where ``plain``.

        Returns how many webhooks were changed, and how many have a secret that no key opens.
        """
        seal = Sealer().seal if plain else self._sealer.seal
        changed = unreadable = 0
        columns = webhooks.c.id, webhooks.c.secret, webhooks.c.previous_secret
        async with self._database.read() as connection:
            rows = (await connection.execute(select(*columns))).all()
        for row in rows:
            try:
                new = [each and seal(self._sealer.open(each)) for each in row[1:]]
            except CannotOpen:
                unreadable += 1
                continue
            # Unless it was replaced meanwhile: the new one is encrypted already.
            still = (webhooks.c.id == row.id) & (webhooks.c.secret == row.secret)
            async with self._database.write() as connection:
                await connection.execute(
                    update(webhooks).where(still).values(secret=new[0], previous_secret=new[1])
                )
            changed += 1
        return changed, unreadable

    def _webhook(self, row: Row[*tuple[Any, ...]]) -> Webhook:
        return webhook_of(row, self._sealer)

    async def _update(
        self,
        connection: AsyncConnection,
        which: ColumnElement[bool],
        values: Mapping[str, object],
    ) -> Webhook | None:
        changed = await connection.execute(
            # The id too, since an UPDATE without values is an error.
            update(webhooks).where(which).values(id=webhooks.c.id, **values).returning(*_SHOWN)
        )
        row = changed.one_or_none()
        return None if row is None else self._webhook(row)


def webhook_of(row: Row[*tuple[Any, ...]], sealer: Sealer) -> Webhook:
    """A subscription from a row that has COLUMNS, or those and more."""
    return Webhook(
        id=row.id,
        app=row.app,
        url=row.url,
        statuses=tuple(row.statuses.split()),
        secret=_opened(row.secret, sealer, row.id),
        previous_secret=_opened(row.previous_secret, sealer, row.id),
        previous_secret_until=row.previous_secret_until,
        state=WebhookState(row.state),
        reason=row.reason,
        created_at=row.created_at,
        failures=row.failures,
        failing_since=row.failing_since,
        not_before=row.not_before,
        key_id=row.key_id,
        key_revoked=getattr(row, "key_revoked", False),
    )


def _opened(secret: str | None, sealer: Sealer, webhook_id: UUID) -> str | None:
    try:
        return None if secret is None else sealer.open(secret)
    except CannotOpen as error:
        log.error("webhook_secret_unreadable", webhook_id=str(webhook_id), reason=str(error))
        return None


def _visible(webhook_id: UUID, sees: str | None) -> ColumnElement[bool]:
    this = webhooks.c.id == webhook_id
    return this if sees is None else this & (webhooks.c.app == sees)


def _changes(
    *, url: str | None, statuses: tuple[str, ...] | None, paused: bool | None
) -> dict[str, object]:
    values: dict[str, object] = {}
    if url is not None:
        values |= {"url": url, **_HEALTHY}  # the new target has not failed yet
    if statuses is not None:
        values |= {"statuses": " ".join(statuses)}
    if paused is True:
        values |= {"state": WebhookState.PAUSED, "reason": "paused by its owner"}
    if paused is False:
        values |= {"state": WebhookState.ACTIVE, "reason": None, **_HEALTHY}
    return values
