"""What owners do with their webhooks: create, change, pause, rotate, test, replay, delete.

``sees`` is the app whose webhooks the caller may see or change; None is every app. Another
app's webhook is answered as one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from app.errors import Conflict, FieldError, Invalid, NotAllowed, NotFound
from app.model.audit import Action, Actor
from app.model.event import event_id
from app.model.webhook import (
    ALARM,
    Delivery,
    DeliveryState,
    Replay,
    Webhook,
    WebhookState,
    trial_payload,
)
from app.store.clock import Now, utc_now
from app.store.outbox.deliveries import WebhookDeliveryStore
from app.store.webhooks import WebhookStore
from app.webhooks.requests import NewWebhook, WebhookChange
from app.webhooks.signing import new_secret
from app.webhooks.targets import TargetRefused, Targets

MAX_WEBHOOKS = 100
"""Per app."""
MAX_REPLAYED = 10_000
"""Deliveries per request. The response says where to continue."""
OLD_SECRET_VALID = timedelta(hours=24)
RESOLVE_TIMEOUT = 3.0
"""Seconds for a new URL's name to resolve. If it does not, the URL is accepted unresolved."""


class Subscriptions:
    """Raises Invalid, NotAllowed, NotFound or Conflict. ``actor`` is named in the audit.

    ``on_change`` is called after each change that may make deliveries due.
    """

    def __init__(
        self,
        *,
        store: WebhookStore,
        deliveries: WebhookDeliveryStore,
        targets: Targets,
        on_change: Callable[[], None],
        now: Now = utc_now,
    ) -> None:
        self._store = store
        self._now = now
        self._deliveries = deliveries
        self._targets = targets
        self._on_change = on_change

    async def create(
        self, asked: NewWebhook, *, sees: str | None, key_id: str, actor: Actor
    ) -> Webhook:
        """Subscribe to events from now on. The secret is returned here, and never again.

        ``key_id`` is the API key that asks.
        """
        if asked.app is not None and sees not in (None, asked.app):
            raise NotAllowed("Only an admin's key may have another app's events sent somewhere")
        app = sees or asked.app
        _require_alarms_allowed(asked.statuses, app)
        await self._check(asked.url)
        webhook = _new(asked, app=app, key_id=key_id, now=self._now())
        entry = actor.did(Action.CREATE_WEBHOOK, webhook.id, details={"url": webhook.url})
        if not await self._store.add(webhook, most=MAX_WEBHOOKS, entry=entry):
            raise Conflict(f"There are {MAX_WEBHOOKS} webhooks already; delete one first")
        self._on_change()
        return webhook

    async def all(self, *, sees: str | None) -> list[Webhook]:
        """Every webhook, oldest first."""
        return await self._store.all(sees=sees)

    async def find(self, webhook_id: UUID, *, sees: str | None) -> Webhook:
        """One webhook."""
        return _found(await self._store.find(webhook_id, sees=sees))

    async def change(
        self, webhook_id: UUID, asked: WebhookChange, *, sees: str | None, actor: Actor
    ) -> Webhook:
        """Change the URL, the statuses, or whether it is paused: all of it, or nothing."""
        webhook = await self.find(webhook_id, sees=sees)
        if webhook.state is WebhookState.ENDED:
            raise Conflict("The webhook has ended for good: create another one")
        _require_alarms_allowed(asked.statuses or (), webhook.app)
        if asked.url is not None:
            await self._check(asked.url)
        changed = await self._store.change(
            webhook_id,
            sees=sees,
            now=self._now(),
            url=asked.url,
            statuses=tuple(asked.statuses) if asked.statuses else None,
            paused=asked.paused,
            entry=actor.did(
                Action.CHANGE_WEBHOOK,
                webhook_id,
                details={
                    "url": asked.url,
                    "statuses": asked.statuses,
                    "paused": asked.paused,
                },
            ),
        )
        self._on_change()
        return _found(changed)

    async def rotate(self, webhook_id: UUID, *, sees: str | None, actor: Actor) -> Webhook:
        """Make a new secret. Both sign for OLD_SECRET_VALID, so that receivers can change over."""
        until = self._now() + OLD_SECRET_VALID
        entry = actor.did(Action.ROTATE_WEBHOOK, webhook_id)
        return _found(
            await self._store.rotate(
                webhook_id, new_secret(), previous_until=until, sees=sees, entry=entry
            )
        )

    async def remove(self, webhook_id: UUID, *, sees: str | None, actor: Actor) -> None:
        """Delete it with its deliveries."""
        entry = actor.did(Action.DELETE_WEBHOOK, webhook_id)
        if not await self._store.remove(webhook_id, sees=sees, entry=entry):
            raise NotFound("There is no webhook with this id")

    async def test(self, webhook_id: UUID, *, sees: str | None, actor: Actor) -> Delivery:
        """Send a test event."""
        webhook = await self.find(webhook_id, sees=sees)
        if webhook.state is not WebhookState.ACTIVE:
            raise Conflict(f"The webhook is {webhook.state}: {webhook.reason}")
        now = self._now()
        entry = actor.did(Action.TEST_WEBHOOK, webhook_id)
        payload = trial_payload(webhook_id, now)
        added = await self._deliveries.add(webhook_id, payload, now, entry=entry)
        self._on_change()
        return added

    async def deliveries(
        self,
        webhook_id: UUID,
        *,
        sees: str | None,
        state: DeliveryState | None,
        below: UUID | None,
        limit: int,
    ) -> list[Delivery]:
        """One page, newest first."""
        await self.find(webhook_id, sees=sees)
        return await self._deliveries.page(webhook_id, state=state, below=below, limit=limit)

    async def delivery(self, webhook_id: UUID, delivery_id: UUID, *, sees: str | None) -> Delivery:
        """One delivery."""
        await self.find(webhook_id, sees=sees)
        found = await self._deliveries.find(webhook_id, delivery_id)
        if found is None:
            raise NotFound("There is no delivery with this id")
        return found

    async def replay(
        self, webhook_id: UUID, delivery_id: UUID, *, sees: str | None, actor: Actor
    ) -> Delivery:
        """Send one delivery again, with the same webhook-id."""
        await self._not_ended(webhook_id, sees=sees)
        entry = actor.did(Action.REPLAY_WEBHOOK, webhook_id, details={"delivery": str(delivery_id)})
        now = self._now()
        replayed = await self._deliveries.replay(webhook_id, delivery_id, now, entry=entry)
        if replayed is None:
            raise NotFound("There is no delivery with this id")
        self._on_change()
        return replayed

    async def replay_range(
        self, webhook_id: UUID, which: Replay, *, sees: str | None, actor: Actor
    ) -> tuple[int, str | None]:
        """Send many again. Returns how many, and where there are more the event to go on after."""
        await self._not_ended(webhook_id, sees=sees)
        numbers = await self._deliveries.replay_range(
            webhook_id,
            which,
            now=self._now(),
            most=MAX_REPLAYED,
            entry=actor.did(Action.REPLAY_WEBHOOK, webhook_id),
        )
        self._on_change()
        return len(numbers), event_id(numbers[-1]) if len(numbers) == MAX_REPLAYED else None

    async def _not_ended(self, webhook_id: UUID, *, sees: str | None) -> None:
        webhook = await self.find(webhook_id, sees=sees)
        if webhook.state is WebhookState.ENDED:
            raise Conflict("The webhook has ended for good: create another one")

    async def _check(self, text: str) -> None:
        """Accept a name that does not resolve now: it may later, and deliveries check again."""
        try:
            url = self._targets.check(text)
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(RESOLVE_TIMEOUT):
                    await self._targets.resolve(url.raw_host or "", url.port or 0)
        except TargetRefused as error:
            raise _at_fault("url", str(error)) from None


def _new(asked: NewWebhook, *, app: str | None, key_id: str, now: datetime) -> Webhook:
    wants_all = app is None and "statuses" not in asked.model_fields_set
    return Webhook(
        id=uuid7(),
        app=app,
        url=asked.url,
        statuses=(*asked.statuses, ALARM) if wants_all else tuple(asked.statuses),
        secret=new_secret(),
        previous_secret=None,
        previous_secret_until=None,
        state=WebhookState.ACTIVE,
        reason=None,
        created_at=now,
        failures=0,
        failing_since=None,
        not_before=None,
        key_id=key_id,
    )


def _require_alarms_allowed(statuses: Sequence[str], app: str | None) -> None:
    if ALARM in statuses and app is not None:
        raise _at_fault("statuses", "ALARM is for a webhook of an admin over all apps")


def _found(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise NotFound("There is no webhook with this id")
    return webhook


def _at_fault(field: str, why: str) -> Invalid:
    return Invalid("Nothing is changed", errors=(FieldError(field, why),))
