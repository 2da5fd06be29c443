"""Delivery receipts: their bodies, their timestamps, and their POST requests.

A receipt is posted once, whatever the response, since iovox documents no retry. Outcomes are
counted, and logged with the sms_activity_id and without phone numbers.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from datetime import datetime, timedelta

import httpx

from app.simulator.behaviour import Behaviour
from app.simulator.ledger import Accepted
from app.simulator.london import london_text
from app.simulator.requests import Submission
from app.simulator.scenarios import Event, Scenario

logger = logging.getLogger(__name__)

CLIENTS, POSTS_EACH = 8, 8
"""64 POSTs in flight at most. httpx's pool scans all its connections for each request: with
one pool of 64 a receipt took half as much CPU again as with pools of 8."""
POST_TIMEOUT = 10.0
"""Seconds for one POST; bounds what a receiver that does not respond can accumulate."""
KEEP_ALIVE = 1.0
"""Seconds; well below the keep-alive timeout of servers, as a request on a connection that the
server is just closing would be lost."""


def receipt_body(sms_activity_id: str, event: Event, happened_at: datetime) -> bytes:
    """The JSON of one receipt, with the fields in iovox's order."""
    fields = {
        "sms_activity_id": sms_activity_id,
        "delivery_status": event.delivery_status,
        "status_reason": event.status_reason,
        "receipt_timestamp": london_text(happened_at),
        "status": event.status,
    }
    return json.dumps(fields).encode()


def plan_receipts(entry: Accepted, scenario: Scenario, spacing: timedelta) -> list[bytes]:
    """The bodies in the order in which they are posted.

    The first event has the time of acceptance, and the others follow by ``spacing``. A receipt
    that is posted earlier is dated a second or two in the future, within usual clock skew;
    otherwise events would precede the send.
    """
    bodies = [
        receipt_body(entry.sms_activity_id, event, entry.accepted_at + place * spacing)
        for place, event in enumerate(scenario.events)
    ]
    return bodies[::-1] if scenario.newest_first else bodies


class ReceiptSender:
    """Posts receipts, each once. Those not yet posted are lost when it stops."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._pending: set[asyncio.Task[None]] = set()
        self._clients = _new_clients()
        # Each client once per POST that it may have in flight. Last in, first out, so that under
        # low load only one client opens connections.
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients:
            for _ in range(POSTS_EACH):
                self._free.put_nowait(client)
        self.outcomes: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """The number of messages with receipts yet to be posted."""
        return len(self._pending)

    def dispatch(self, entry: Accepted, scenario: Scenario) -> None:
        """``deliver`` in the background."""
        task = asyncio.create_task(self.deliver(entry, scenario))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def deliver(self, entry: Accepted, scenario: Scenario) -> None:
        """Post the receipts of a text one after the other; copies of one concurrently."""
        if not self._behaviour.receipts or entry.submission.callback_url is None:
            return
        spacing = timedelta(seconds=self._behaviour.event_spacing)
        for body in plan_receipts(entry, scenario, spacing):
            await asyncio.sleep(self._behaviour.receipt_delay)
            await asyncio.gather(*(self._post(entry, body) for _ in range(scenario.copies)))

    async def _post(self, entry: Accepted, body: bytes) -> None:
        client = await self._free.get()
        try:
            outcome, detail = await _attempt(client, entry.submission, body)
        finally:
            self._free.put_nowait(client)
        self.outcomes["posted"] += 1
        self.outcomes[outcome] += 1
        level = logging.INFO if outcome == "accepted" else logging.WARNING
        logger.log(level, "receipt of %s %s: %s", entry.sms_activity_id, outcome, detail)

    async def drop(self) -> None:
        """Discard the receipts that are not posted yet."""
        tasks = tuple(self._pending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Discard pending receipts and close all connections."""
        await self.drop()
        for client in self._clients:
            await client.aclose()


def _new_clients() -> list[httpx.AsyncClient]:
    trusted = httpx.create_ssl_context(trust_env=False)  # shared, as loading the roots is slow
    limits = httpx.Limits(
        max_connections=POSTS_EACH,
        max_keepalive_connections=POSTS_EACH,
        keepalive_expiry=KEEP_ALIVE,
    )
    return [
        httpx.AsyncClient(
            headers={"User-Agent": "iovox-simulator"},
            timeout=POST_TIMEOUT,
            limits=limits,
            verify=trusted,
            trust_env=False,
        )
        for _ in range(CLIENTS)
    ]


async def _attempt(
    client: httpx.AsyncClient, submission: Submission, body: bytes
) -> tuple[str, str]:
    """One POST: returns the outcome to count, and a detail for the log."""
    try:
        response = await client.post(
            submission.callback_url or "",
            content=body,
            # As bytes: values may be non-ASCII.
            headers=[
                (name.encode(), value.encode()) for name, value in submission.callback_headers
            ],
        )
    # An invalid callback_url or header raises any of these.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
        return "unanswered", type(error).__name__
    return ("accepted" if response.is_success else "refused"), str(response.status_code)
