"""Status changes in the order of commits: from the feed in pages, or live from the stream (SSE).

Both go on through outages, from after the last event that they returned: nothing is missed, and
nothing comes twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import httpx

from iovox_receipts import models
from iovox_receipts.calls import Call, Caller, backoff, not_understood, understood
from iovox_receipts.errors import TryLater, Unreachable
from iovox_receipts.filters import Params
from iovox_receipts.models import Event

POLL_EVERY = 1.0
"""Seconds between polls of a feed that has nothing new."""
SILENCE = 60.0
"""Seconds without a byte after which a stream counts as lost; the service sends heartbeats."""
RECONNECT_AFTER = 1.0
"""Seconds before reconnecting to a stream that the service has ended."""


async def read_feed(
    caller: Caller, *, after: str | None, follow: bool, limit: int
) -> AsyncIterator[Event]:
    """Every event after this one, for ever or, without ``follow``, up to the newest."""
    failures = 0
    while True:
        try:
            found, after = await _page(caller, after, limit)
        except (Unreachable, TryLater):
            if not follow:
                raise
            failures += 1
            await caller.sleep(backoff(failures))
            continue
        failures = 0
        for event in found:
            yield event
        if not found:
            if not follow:
                return
            await caller.sleep(POLL_EVERY)


async def read_stream(caller: Caller, *, after: str | None, params: Params) -> AsyncIterator[Event]:
    """Live events, for ever, once there is a first connection."""
    parser, failures = _Parser(after), 0
    deadline: float | None = caller.deadline(min(caller.patience, caller.connect_timeout))
    while True:
        headers = {"Accept": "text/event-stream"}
        if parser.last_id:
            headers["Last-Event-ID"] = parser.last_id
        call = Call("GET", "/v1/events/stream", params=params, headers=headers)
        begun_by = time.monotonic() + SILENCE if deadline is None else deadline
        try:
            response = await caller.open(call, deadline=begun_by, silence=SILENCE)
            try:
                _check_is_stream(response)
                deadline, parser.fields = None, {}
                with caller.reaching():
                    async for line in response.aiter_lines():
                        failures = 0
                        if (data := parser.take(line)) is not None:
                            with understood(response):
                                event = models.event(json.loads(data))
                            yield event
            finally:
                await response.aclose()
        except (Unreachable, TryLater):
            failures += 1
            pause = backoff(failures)
            if deadline is not None and time.monotonic() + pause >= deadline:
                raise
        else:
            pause = RECONNECT_AFTER
        await caller.sleep(pause)


async def _page(
    caller: Caller, after: str | None, limit: int
) -> tuple[Sequence[Event], str | None]:
    params = {"limit": str(limit)} | ({} if after is None else {"after": after})
    response = await caller.ask(Call("GET", "/v1/events", params=params))
    with understood(response):
        body = response.json()
        return [models.event(one) for one in body["events"]], body["next"]


def _check_is_stream(response: httpx.Response) -> None:
    """Raises NotUnderstood for anything else, such as a page of HTML: it has no events, and would
    be read again for ever.
    """
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        raise not_understood(response)


@dataclass(slots=True)
class _Parser:
    """A parser of SSE: ``last_id`` is the id to resume after, ``fields`` those of the block so far.

    A block is lines of ``field: value`` and an empty one; it may be an id alone.
    """

    last_id: str | None
    fields: dict[str, str] = field(default_factory=dict)

    def take(self, line: str) -> str | None:
        """The data of the block that this line ends, if it has any."""
        if line:
            name, _, value = line.partition(":")
            self.fields[name] = value.removeprefix(" ")
            return None
        self.last_id = self.fields.get("id") or self.last_id
        data = self.fields.get("data")
        self.fields = {}
        return data
