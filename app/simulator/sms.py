"""``/SMS``: one send, from its bytes to its answer, as a bare ASGI endpoint.

It takes every HTTP method, because iovox refuses a wrong one in words of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime

from app.simulator.answers import (
    HANG,
    OUTAGES,
    SERVER_ERROR,
    Answer,
    Fault,
    Receive,
    RefusalError,
    Scope,
    Send,
    accepted,
    refused,
    withheld,
)
from app.simulator.behaviour import Behaviour
from app.simulator.ledger import Accepted, Ledger
from app.simulator.receipts import Courier
from app.simulator.requests import (
    Submission,
    check_call,
    check_credentials,
    read_body,
    read_submission,
)
from app.simulator.scenarios import Answering, Scenario, scenario_for

Clock = Callable[[], datetime]


class SmsEndpoint:
    """Judges a send, takes it, and answers it as its destination's scenario says."""

    def __init__(
        self,
        *,
        credentials: Mapping[str, str | None],
        behaviour: Behaviour,
        ledger: Ledger,
        courier: Courier,
        clock: Clock,
        closing: asyncio.Event,
    ) -> None:
        self._credentials = credentials
        self._behaviour = behaviour
        self._ledger = ledger
        self._courier = courier
        self._clock = clock
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One call, by any HTTP method."""
        self._ledger.requests += 1
        answer = self._outage() or await self._answer(scope, receive)
        if answer is not None:
            await answer(scope, receive, send)

    def _outage(self) -> Answer | None:
        down = self._behaviour.down
        if down is None:
            return None
        return self._silence() if down == HANG else OUTAGES[down]()

    def _silence(self) -> Answer:
        return withheld(self._behaviour.withheld, self._closing)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer | None:
        """None when the caller left before all of the request was here."""
        try:
            body = await read_body(receive)
            if body is None:
                return None
            submission = self._judge(scope, body)
            entry, scenario = self._take(submission, body)
        except RefusalError as error:
            await asyncio.sleep(self._behaviour.answer_delay)
            return refused(error.faults)
        await asyncio.sleep(self._behaviour.answer_delay)
        return await self._give(entry, scenario)

    def _judge(self, scope: Scope, body: bytes) -> Submission:
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        check_credentials(headers, self._credentials)
        check_call(scope["method"], scope["query_string"])
        return read_submission(body, self._behaviour.longest_message)

    def _take(self, submission: Submission, body: bytes) -> tuple[Accepted, Scenario]:
        self._ledger.attempt(submission.x_message_id)
        scenario = scenario_for(submission.destination)
        if scenario.refusal is not None:
            text = scenario.refusal.text.format(destination=submission.destination)
            raise RefusalError(Fault(scenario.refusal.status, text))
        key = submission.x_message_id or hashlib.sha256(body).digest()
        if scenario.fails_once and self._ledger.fails_now(key):
            raise RefusalError(SERVER_ERROR)
        return self._ledger.accept(submission, self._clock()), scenario

    async def _give(self, entry: Accepted, scenario: Scenario) -> Answer:
        if scenario.answering is Answering.LAST:
            await self._courier.deliver(entry, scenario)
        else:
            self._courier.dispatch(entry, scenario)
        if scenario.answering is Answering.NEVER:
            return self._silence()
        return accepted(entry.sms_activity_id)
