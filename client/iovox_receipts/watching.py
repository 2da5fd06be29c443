"""Watching a message until its status is final: by long polling, or by polling where the service
does not hold its answers.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator

import httpx

from iovox_receipts import models
from iovox_receipts.calls import Call, Caller, understood
from iovox_receipts.errors import TryLater, Unreachable
from iovox_receipts.models import Message

LONGEST_HOLD = 20
"""Seconds that the service is asked to hold one answer; proxies cut much longer ones."""
POLL_EVERY = 1.0
"""Seconds between polls, where the service does not hold its answer."""
LAST_ANSWER = 1.0
"""Seconds that the last answer may take after the time to wait is over."""


async def watch(caller: Caller, path: str, *, timeout: float | None) -> AsyncIterator[Message]:
    """The message each time that it has changed, up to its final status or for so many seconds."""
    until = math.inf if timeout is None else time.monotonic() + timeout
    last: Message | None = None
    etag: str | None = None
    while True:
        asked_at = time.monotonic()
        try:
            message, etag = await _fetch(caller, path, etag, until - asked_at)
        except (Unreachable, TryLater):
            if last is None or time.monotonic() < until:
                raise
            return
        if message is not None and (last is None or message.raw != last.raw):
            last = message
            yield message
        else:
            await _pause(caller, asked_at, until)
        if time.monotonic() >= until or (last is not None and last.final):
            return


async def _fetch(
    caller: Caller, path: str, etag: str | None, left: float
) -> tuple[Message | None, str | None]:
    """The message and its ETag; None for a message that has not changed since ``etag``."""
    hold = 0 if etag is None else int(min(LONGEST_HOLD, max(0.0, left)))
    call = Call("GET", path)
    if etag is not None and hold > 0:
        call = Call("GET", path, params={"wait": str(hold)}, headers={"If-None-Match": etag})
    patience = min(caller.patience + hold, max(0.0, left) + LAST_ANSWER)
    response = await caller.ask(call, deadline=caller.deadline(patience))
    if response.status_code == httpx.codes.NOT_MODIFIED and etag is not None:
        return None, etag
    with understood(response):
        return models.message(response.json()), response.headers.get("ETag")


async def _pause(caller: Caller, asked_at: float, until: float) -> None:
    """Wait until POLL_EVERY after the request, if its answer was not held for as long as that."""
    now = time.monotonic()
    pause = min(POLL_EVERY - (now - asked_at), until - now)
    if pause > 0:
        await caller.sleep(pause)
