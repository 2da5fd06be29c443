"""Receipts: which ones a text gets, how they are dated, and their one POST each.

As iovox documents it, a receipt is posted once: whatever the other side answers, it never comes
again. The outcome is counted and logged, by its id and without anybody's phone number.
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
"""64 posts in flight at most. httpx's pool looks at each of its connections for each request: with
64 in one pool a receipt cost half as much again as with 8."""
POST_TIMEOUT = 10.0
"""Seconds for one POST, so that a silent receiver cannot pile them up for ever."""
KEEP_ALIVE = 1.0
"""Seconds. Well below any server's own: a receipt must not be lost to a connection it closes."""


def receipt_body(sms_activity_id: str, event: Event, happened_at: datetime) -> bytes:
    """The JSON of one receipt, fields in iovox's order."""
    fields = {
        "sms_activity_id": sms_activity_id,
        "delivery_status": event.delivery_status,
        "status_reason": event.status_reason,
        "receipt_timestamp": london_text(happened_at),
        "status": event.status,
    }
    return json.dumps(fields).encode()


def plan_receipts(entry: Accepted, scenario: Scenario, spacing: timedelta) -> list[bytes]:
    """The bodies in the order in which they are posted, each dated when its event happened.

    The first event is acceptance itself and the others follow by ``spacing``, so a receipt that
    is posted sooner than that is dated ahead: by a second or two, within what clocks differ.
    Dating them back instead would have them happen before the text was sent.
    """
    bodies = [
        receipt_body(entry.sms_activity_id, event, entry.accepted_at + place * spacing)
        for place, event in enumerate(scenario.events)
    ]
    return bodies[::-1] if scenario.newest_first else bodies


class Courier:
    """Posts receipts. Each is posted once; those not yet posted are lost when it stops."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._pending: set[asyncio.Task[None]] = set()
        self._clients = _new_clients()
        # A client is in it once for each post that it may have in flight. Last in, first out: as
        # long as one client is enough, the others stay without connections.
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients:
            for _ in range(POSTS_EACH):
                self._free.put_nowait(client)
        self.outcomes: Counter[str] = Counter()

    @property
    def pending(self) -> int:
        """Messages that have receipts still to come."""
        return len(self._pending)

    def dispatch(self, entry: Accepted, scenario: Scenario) -> None:
        """Deliver in the background."""
        task = asyncio.create_task(self.deliver(entry, scenario))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def deliver(self, entry: Accepted, scenario: Scenario) -> None:
        """Post every receipt of this text in turn; copies of one go out at the same instant."""
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
        """Give up every receipt that is not posted yet."""
        tasks = tuple(self._pending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Drop what is pending and close every connection."""
        await self.drop()
        for client in self._clients:
            await client.aclose()


def _new_clients() -> list[httpx.AsyncClient]:
    trusted = httpx.create_ssl_context(trust_env=False)  # reading the roots is slow: once for all
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
    """What became of one POST: the name that it is counted under, and the detail for the log."""
    try:
        response = await client.post(
            submission.callback_url or "",
            content=body,
            # As bytes: a value may hold what ASCII does not.
            headers=[
                (name.encode(), value.encode()) for name, value in submission.callback_headers
            ],
        )
    # A callback_url or a header that nobody could use fails in many ways, some of them bare.
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
        return "unanswered", type(error).__name__
    return ("accepted" if response.is_success else "refused"), str(response.status_code)
