"""Retry, backoff and give-up: what a result makes of a delivery and of its webhook. Pure rules.

A delivery and its receiver back off separately: one payload that its receiver rejects must not hold
up the others, and a receiver that is down must not be called once for each of a thousand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.model.webhook import (
    Attempt,
    AttemptResult,
    Delivery,
    DeliveryState,
    Health,
    Webhook,
    WebhookState,
)
from app.webhooks.client import DeliveryResult


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times in seconds.

    A delivery is retried after ``first_retry``, then after twice as long each time up to
    ``longest_retry``, and given up ``give_up_after`` its first attempt. After ``down_after`` failed
    rounds in a row a receiver counts as down: it is probed by one attempt at a time, at most
    ``longest_probe`` apart. After ``give_up_after`` without a success its webhook is paused.
    A receiver's Retry-After holds for ``longest_pause`` at most: a mistake in it must not silence
    a webhook for days.
    """

    timeout: float = 10.0
    first_retry: float = 1.0
    longest_retry: float = 600.0
    longest_probe: float = 60.0
    longest_pause: float = 3_600.0
    give_up_after: float = 3 * 86_400.0
    down_after: int = 3
    concurrency: int = 8

    @property
    def lease(self) -> float:
        """How long a lease lasts: an attempt starts only with more than a time-out of it left."""
        return 3 * self.timeout

    def attempted(
        self, webhook: Webhook, delivery: Delivery, result: DeliveryResult, now: datetime
    ) -> AttemptResult:
        """What a result makes of a delivery."""
        state, next_attempt_at = DeliveryState.DELIVERED, None
        if not result.succeeded:
            state, next_attempt_at = self._failed(webhook, delivery, result, now)
        return AttemptResult(
            delivery_id=delivery.id,
            replays=delivery.replays,
            at=now,
            state=state,
            attempt=Attempt(
                at=result.began_at or now,
                took_ms=result.took_ms,
                status_code=result.status_code,
                error=result.error,
                response=result.response,
            ),
            next_attempt_at=next_attempt_at,
        )

    def health(self, webhook: Webhook, results: Sequence[DeliveryResult], now: datetime) -> Health:
        """What a round of results, in their order, makes of a webhook."""
        last = results[-1]
        if any(result.is_gone for result in results):
            reason = "its receiver answered 410 Gone: it wants no more"
            return self._stopped(webhook, WebhookState.ENDED, reason, now)
        if any(result.succeeded for result in results):
            return Health(
                state=WebhookState.ACTIVE,
                reason=None,
                failures=0,
                failing_since=None,
                not_before=self._retry_at(results, now),
                has_recovered=self.is_down(webhook),
            )
        since = webhook.failing_since or now
        if (now - since).total_seconds() >= self.give_up_after:
            reason = f"nothing was taken since {since:%Y-%m-%d %H:%M} UTC; the last: {last.error}"
            return self._stopped(webhook, WebhookState.PAUSED, reason, now)
        return self._failing(webhook, results, since, now)

    def is_down(self, webhook: Webhook) -> bool:
        """Whether its receiver counts as down."""
        return webhook.failures >= self.down_after

    def max_in_flight(self, webhook: Webhook) -> int:
        """How many attempts may be in flight together."""
        return 1 if self.is_down(webhook) else self.concurrency

    def _failed(
        self, webhook: Webhook, delivery: Delivery, result: DeliveryResult, now: datetime
    ) -> tuple[DeliveryState, datetime | None]:
        first = delivery.first_attempt_at or now
        # Where nothing else succeeded meanwhile the receiver is at fault, not this delivery: the
        # webhook will be paused, and this is sent once it is resumed.
        others_succeeded = webhook.failing_since is None or webhook.failing_since > first
        if others_succeeded and (now - first).total_seconds() >= self.give_up_after:
            return DeliveryState.FAILED, None
        wait = _backoff(self.first_retry, delivery.attempts, self.longest_retry)
        wait = max(wait, min(result.retry_after or 0.0, self.longest_pause))
        return DeliveryState.PENDING, now + timedelta(seconds=wait)

    def _failing(
        self, webhook: Webhook, results: Sequence[DeliveryResult], since: datetime, now: datetime
    ) -> Health:
        failures = webhook.failures + 1
        not_before = self._retry_at(results, now)
        if failures >= self.down_after:
            wait = _backoff(self.first_retry, failures - self.down_after, self.longest_probe)
            probe = now + timedelta(seconds=wait)
            not_before = max(not_before or probe, probe)
        return Health(WebhookState.ACTIVE, None, failures, since, not_before)

    def _retry_at(self, results: Sequence[DeliveryResult], now: datetime) -> datetime | None:
        """When the longest Retry-After ends. It holds for the webhook: its receiver is busy."""
        delays = [result.retry_after for result in results if result.retry_after]
        if not delays:
            return None
        return now + timedelta(seconds=min(max(delays), self.longest_pause))

    def _stopped(self, webhook: Webhook, state: WebhookState, reason: str, now: datetime) -> Health:
        return Health(
            state=state,
            reason=reason,
            failures=webhook.failures + 1,
            failing_since=webhook.failing_since or now,
            not_before=None,
        )


def _backoff(first: float, retries: int, longest: float) -> float:
    """Exponential, with jitter so that retries of many do not fall together."""
    return min(longest, first * 2.0 ** min(retries, 30)) * random.uniform(0.75, 1.0)  # noqa: S311
