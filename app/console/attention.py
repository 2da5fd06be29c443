"""What needs somebody's attention: each kind with its list, its age and what can be done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.lookup.lookups import Lookups
from app.lookup.responses import MessageSummary, UnmatchedId
from app.model.alarm import Alarm
from app.model.search import Search
from app.model.status import Status
from app.model.webhook import Webhook, WebhookState
from app.model.words import ALARMS, AlarmWords
from app.receive.rejected import show
from app.store.clock import Now
from app.store.operations import OperationsStore
from app.store.receipts import ReceiptStore
from app.store.stuck import StuckStore
from app.web.caller import Caller
from app.webhooks.subscriptions import Subscriptions

SHOWN = 50
"""Of each kind; a search shows the others."""
LATELY = timedelta(days=31)
"""How far back contradictory messages are listed: they stay contradictory for ever."""


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages of one kind. ``more``: there are others than these."""

    messages: Sequence[MessageSummary]
    more: bool


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that is up, and what it means."""

    alarm: Alarm
    words: AlarmWords


@dataclass(frozen=True, slots=True)
class AttentionList:
    """All that needs attention. A list is None where the caller may not see it."""

    unconfirmed: Messages
    overdue: Messages
    contradictory: Messages
    stuck: Messages
    unmatched: Sequence[UnmatchedId] | None
    rejected: Sequence[dict[str, Any]] | None
    webhooks: Sequence[Webhook]
    alarms: Sequence[ActiveAlarm] | None

    @property
    def kinds(self) -> int:
        """How many kinds there is something of."""
        messages = (self.unconfirmed, self.overdue, self.contradictory, self.stuck)
        others = (self.unmatched, self.rejected, self.webhooks, self.alarms)
        return sum(bool(one.messages) for one in messages) + sum(bool(one) for one in others)


class Attention:
    """Reads by the same functions as the API."""

    def __init__(
        self,
        *,
        lookups: Lookups,
        stuck: StuckStore,
        rejected: ReceiptStore,
        subscriptions: Subscriptions,
        operations: OperationsStore,
        now: Now,
    ) -> None:
        self._lookups = lookups
        self._stuck = stuck
        self._rejected = rejected
        self._subscriptions = subscriptions
        self._operations = operations
        self._now = now

    async def badge(self, caller: Caller) -> int:
        """How many kinds there is something of."""
        return (await self.all(caller, limit=1)).kinds

    async def all(self, caller: Caller, *, limit: int = SHOWN) -> AttentionList:
        """Everything that this caller may see. Raises StoreUnavailable."""
        sees = caller.sees
        stuck = await self._stuck.find(app=sees, now=self._now(), limit=limit + 1)
        webhooks = await self._subscriptions.all(sees=sees)
        return AttentionList(
            unconfirmed=await self._find(
                Search(app=sees, statuses=frozenset({Status.UNCONFIRMED})), limit
            ),
            overdue=await self._find(Search(app=sees, overdue=True), limit),
            contradictory=await self._find(
                Search(app=sees, contradictory=True, created_from=self._now() - LATELY), limit
            ),
            stuck=Messages(self._lookups.summaries(stuck[:limit], texts=False), len(stuck) > limit),
            unmatched=(
                await self._lookups.unmatched(before=None, limit=limit) if sees is None else None
            ),
            rejected=(
                [show(one) for one in await self._rejected.rejected(limit=limit)]
                if caller.is_admin
                else None
            ),
            webhooks=[one for one in webhooks if needs_attention(one)],
            alarms=await self.alarms() if sees is None else None,
        )

    async def alarms(self) -> list[ActiveAlarm]:
        """Those that are up."""
        every = await self._operations.alarms()
        return [ActiveAlarm(one, ALARMS[one.name]) for one in every if one.ended_at is None]

    async def _find(self, search: Search, limit: int) -> Messages:
        page = await self._lookups.page(search, before=None, limit=limit)
        return Messages(self._lookups.summaries(page.records, texts=False), page.next is not None)


def needs_attention(webhook: Webhook) -> bool:
    """Whether somebody should look at it."""
    return (
        webhook.state is not WebhookState.ACTIVE
        or webhook.failing_since is not None
        or webhook.key_revoked
    )
