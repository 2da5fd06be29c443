"""``/SMS``: the endpoint of sendSms, as a plain ASGI app.

It accepts every HTTP method, because iovox refuses a wrong one with an error text of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from app.simulator.behaviour import Behaviour
from app.simulator.chaos import SLOW, occurs
from app.simulator.ledger import Accepted, Ledger
from app.simulator.receipts import ReceiptSender
from app.simulator.requests import (
    Submission,
    check_call,
    check_credentials,
    read_body,
    read_submission,
)
from app.simulator.responses import (
    HANG,
    OUTAGES,
    SERVER_ERROR,
    ASGIResponse,
    Fault,
    Receive,
    RefusalError,
    Scope,
    Send,
    accepted,
    refused,
    withheld,
)
from app.simulator.scenarios import ResponseOrder, Scenario, scenario_for

Clock = Callable[[], datetime]


class SmsEndpoint:
    """Validates a send, records it, and responds by the scenario of its destination."""

    def __init__(
        self,
        *,
        credentials: Mapping[str, str | None],
        behaviour: Behaviour,
        ledger: Ledger,
        receipt_sender: ReceiptSender,
        clock: Clock,
        closing: asyncio.Event,
    ) -> None:
        self._credentials = credentials
        self._behaviour = behaviour
        self._ledger = ledger
        self._receipt_sender = receipt_sender
        self._clock = clock
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        self._ledger.requests += 1
        response = self._outage() or await self._handle(scope, receive)
        if response is not None:
            await response(scope, receive, send)

    def _outage(self) -> ASGIResponse | None:
        down = self._behaviour.down
        if down is None:
            return OUTAGES["503"]() if self._occurs("refuse") else None
        return self._no_response() if down == HANG else OUTAGES[down]()

    def _occurs(self, fault: str) -> bool:
        return occurs(self._behaviour.chaos, fault)

    def _no_response(self) -> ASGIResponse:
        return withheld(self._behaviour.withheld, self._closing)

    async def _handle(self, scope: Scope, receive: Receive) -> ASGIResponse | None:
        """None if the client disconnected before the end of the request."""
        try:
            body = await read_body(receive)
            if body is None:
                return None
            submission = self._validate(scope, body)
            entry, scenario = self._accept(submission, body)
        except RefusalError as error:
            await asyncio.sleep(self._behaviour.time_to_answer())
            return refused(error.faults)
        slow = SLOW if self._occurs("slow") else 0
        await asyncio.sleep(self._behaviour.time_to_answer() + slow)
        return await self._respond(entry, scenario)

    def _validate(self, scope: Scope, body: bytes) -> Submission:
        headers = {
            name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]
        }
        check_credentials(headers, self._credentials)
        check_call(scope["method"], scope["query_string"])
        return read_submission(body, self._behaviour.longest_message)

    def _accept(self, submission: Submission, body: bytes) -> tuple[Accepted, Scenario]:
        self._ledger.attempt(submission.x_message_id)
        scenario = scenario_for(submission.destination)
        if scenario.refusal is not None:
            text = scenario.refusal.text.format(destination=submission.destination)
            raise RefusalError(Fault(scenario.refusal.status, text))
        key = submission.x_message_id or hashlib.sha256(body).digest()
        fails = scenario.fails_once and self._ledger.fails_now(key)
        if fails or self._occurs("error"):
            raise RefusalError(SERVER_ERROR)
        if self._occurs("mute"):
            scenario = replace(scenario, events=())
        if self._occurs("repeat"):
            scenario = replace(scenario, copies=3)
        if self._occurs("reverse"):
            scenario = replace(scenario, newest_first=True)
        return self._ledger.accept(submission, self._clock()), scenario

    async def _respond(self, entry: Accepted, scenario: Scenario) -> ASGIResponse:
        if scenario.response_order is ResponseOrder.LAST:
            await self._receipt_sender.deliver(entry, scenario)
        else:
            self._receipt_sender.dispatch(entry, scenario)
        if scenario.response_order is ResponseOrder.NEVER:
            return self._no_response()
        if self._occurs("lost"):
            return withheld(0, self._closing)
        return accepted(entry.sms_activity_id)
