"""When a delivery is tried again, and what a round of attempts says of the receiver. Pure rules.

A delivery and its receiver back off apart. One payload that its receiver cannot stomach must not
hold up the others; a receiver that is down must not be called once for each of a thousand.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.model.webhook import AttemptResult, Delivery, DeliveryState, Health, Webhook, WebhookState
from app.webhooks.poster import Answer


@dataclass(frozen=True, slots=True)
class Schedule:
    """All in seconds, but for the counts.

    A delivery is tried again after ``first_retry``, then twice as long each time up to
    ``longest_retry``, and given up ``give_up_after`` its first attempt. A receiver of which
    ``down_after`` rounds in a row failed counts as down: one call at a time is made, at most
    ``longest_probe`` apart. After ``give_up_after`` without a success its webhook is paused.
    """

    timeout: float = 10.0
    first_retry: float = 1.0
    longest_retry: float = 600.0
    longest_probe: float = 60.0
    give_up_after: float = 3 * 86_400.0
    down_after: int = 3
    concurrency: int = 8

    @property
    def lease(self) -> float:
        """Long enough that no attempt outlasts it: an attempt begins with a third of it left."""
        return 3 * self.timeout

    def attempted(
        self, webhook: Webhook, delivery: Delivery, answer: Answer, now: datetime
    ) -> AttemptResult:
        """What an answer makes of a delivery."""
        state, next_attempt_at = DeliveryState.DELIVERED, None
        if not answer.was_taken:
            state, next_attempt_at = self._failed(webhook, delivery, answer, now)
        return AttemptResult(
            delivery_id=delivery.id,
            replays=delivery.replays,
            at=now,
            state=state,
            status_code=answer.status_code,
            error=answer.error,
            next_attempt_at=next_attempt_at,
        )

    def health(self, webhook: Webhook, answers: Sequence[Answer], now: datetime) -> Health:
        """What a round of answers, in their order, makes of a webhook."""
        last = answers[-1]
        if any(answer.is_gone for answer in answers):
            reason = "its receiver answered 410 Gone: it wants no more"
            return self._stopped(webhook, WebhookState.ENDED, reason, now)
        if any(answer.was_taken for answer in answers):
            return Health(
                state=WebhookState.ACTIVE,
                reason=None,
                failures=0,
                failing_since=None,
                not_before=self._asked(answers, now),
                has_recovered=self.is_down(webhook),
            )
        since = webhook.failing_since or now
        if (now - since).total_seconds() >= self.give_up_after:
            reason = f"nothing was taken since {since:%Y-%m-%d %H:%M} UTC; the last: {last.error}"
            return self._stopped(webhook, WebhookState.PAUSED, reason, now)
        return self._failing(webhook, answers, since, now)

    def is_down(self, webhook: Webhook) -> bool:
        """Whether its receiver is taken to be away."""
        return webhook.failures >= self.down_after

    def at_once(self, webhook: Webhook) -> int:
        """How many calls may be under way together."""
        return 1 if self.is_down(webhook) else self.concurrency

    def _failed(
        self, webhook: Webhook, delivery: Delivery, answer: Answer, now: datetime
    ) -> tuple[DeliveryState, datetime | None]:
        first = delivery.first_attempt_at or now
        # Where nothing else was taken meanwhile, it is the receiver that fails: its webhook will be
        # paused, and this is sent when it is resumed.
        others_were_taken = webhook.failing_since is None or webhook.failing_since > first
        if others_were_taken and (now - first).total_seconds() >= self.give_up_after:
            return DeliveryState.FAILED, None
        wait = _backoff(self.first_retry, delivery.attempts, self.longest_retry)
        wait = max(wait, min(answer.retry_after or 0.0, self.give_up_after))
        return DeliveryState.PENDING, now + timedelta(seconds=wait)

    def _failing(
        self, webhook: Webhook, answers: Sequence[Answer], since: datetime, now: datetime
    ) -> Health:
        failures = webhook.failures + 1
        not_before = self._asked(answers, now)
        if failures >= self.down_after:
            wait = _backoff(self.first_retry, failures - self.down_after, self.longest_probe)
            probe = now + timedelta(seconds=wait)
            not_before = max(not_before or probe, probe)
        return Health(WebhookState.ACTIVE, None, failures, since, not_before)

    def _asked(self, answers: Sequence[Answer], now: datetime) -> datetime | None:
        """The time that the receiver has asked for, for everything: it is it that is busy."""
        asked = [answer.retry_after for answer in answers if answer.retry_after]
        if not asked:
            return None
        return now + timedelta(seconds=min(max(asked), self.give_up_after))

    def _stopped(self, webhook: Webhook, state: WebhookState, reason: str, now: datetime) -> Health:
        return Health(
            state=state,
            reason=reason,
            failures=webhook.failures + 1,
            failing_since=webhook.failing_since or now,
            not_before=None,
        )


def _backoff(first: float, earlier: int, longest: float) -> float:
    """Doubled each time; with jitter, so that many are not tried in step."""
    return min(longest, first * 2.0 ** min(earlier, 30)) * random.uniform(0.75, 1.0)  # noqa: S311
