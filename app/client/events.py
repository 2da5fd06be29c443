"""Status changes as they are committed: from the feed in pages, or live from the stream.

Both go on through outages, each after the last event that its reader was given: nothing is missed,
and nothing comes twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx

from app.client import models
from app.client.calls import Call, Caller, Params, backoff, understood
from app.client.errors import TryLater, Unreachable
from app.client.models import Event

POLL_EVERY = 1.0
"""Seconds between looks at a feed that had nothing new."""
SILENCE = 60.0
"""Seconds without a byte after which a stream is taken for dead; the service sends heartbeats."""
RECONNECT_AFTER = 1.0

Sleep = Callable[[float], None]


def read_feed(
    calls: Caller, sleep: Sleep, *, after: str | None, follow: bool, limit: int
) -> Iterator[Event]:
    """Every event after this one, for ever or, without ``follow``, up to the newest."""
    failures = 0
    while True:
        try:
            found, after = _page(calls, after, limit)
        except (Unreachable, TryLater):
            if not follow:
                raise
            failures += 1
            sleep(backoff(failures))
            continue
        failures = 0
        yield from found
        if not found:
            if not follow:
                return
            sleep(POLL_EVERY)


def read_stream(
    calls: Caller, sleep: Sleep, *, after: str | None, params: Params, patience: float
) -> Iterator[Event]:
    """Live events, for ever. ``patience``: seconds for the first connection to come about."""
    last, failures = after, 0
    deadline: float | None = time.monotonic() + patience
    while True:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        call = Call("GET", "/v1/events/stream", params=params, headers=headers)
        try:
            with calls.stream(call, silence=SILENCE) as response:
                for one in _parse(response):
                    last, failures, deadline = one.id or last, 0, None
                    if one.event is not None:
                        yield one.event
        except (Unreachable, TryLater):
            if deadline is not None and time.monotonic() > deadline:
                raise
        failures += 1
        sleep(max(RECONNECT_AFTER, backoff(failures)) if deadline is None else backoff(failures))


@dataclass(frozen=True, slots=True)
class _Received:
    """What one block of a stream said: where we are, and perhaps an event."""

    id: str | None
    event: Event | None


def _page(calls: Caller, after: str | None, limit: int) -> tuple[Sequence[Event], str | None]:
    params = {"limit": str(limit)} | ({} if after is None else {"after": after})
    response = calls.ask(Call("GET", "/v1/events", params=params))
    with understood(response):
        body = response.json()
        return [models.event(one) for one in body["events"]], body["next"]


def _parse(response: httpx.Response) -> Iterator[_Received]:
    """Blocks of ``field: value`` lines, an empty line after each; a block may be an id alone."""
    fields: dict[str, str] = {}
    for line in response.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        yield _Received(fields.get("id"), _event(response, fields))
        fields = {}


def _event(response: httpx.Response, fields: Mapping[str, str]) -> Event | None:
    if "data" not in fields:
        return None
    with understood(response):
        return models.event(json.loads(fields["data"]))
