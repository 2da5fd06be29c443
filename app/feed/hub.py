"""Publishes new events to the open streams (fan-out): one reader of the database per process.

However many streams are open, a wake-up costs one query, and an event is encoded once. Nothing is
read while no stream is live.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog

from app.errors import StoreRefused, StoreUnavailable, TooManyRequests, Unavailable
from app.feed.streams import HEARTBEAT, QUEUE, Stream, encode, opening
from app.model.event import Event, event_id
from app.ops.metrics import Metrics
from app.parts.lifecycle import wait_for_event
from app.store.feed import FeedStore

PAGE = 500
POLL_EVERY = 0.5
"""Seconds between polls without a wake-up: one may be lost, and SQLite's reach no other process."""
MIN_PAUSE = 0.01
"""Seconds between two polls, however many wake-ups come: under load one poll reads many events."""
CLOSE_TIMEOUT = 2.0
"""Seconds that open streams have to end by themselves before their connections are aborted."""
CHECK_KEYS_EVERY = 30.0
"""Seconds between two checks whether the keys of the open streams are still valid."""
HEARTBEAT_BATCH = 100
"""Streams that are sent a heartbeat before the event loop runs other tasks."""

log = structlog.get_logger(__name__)


class Hub:
    """The open streams, and the reader that ``run`` feeds them with.

    ``max_streams`` may be open, ``max_of_a_key`` of them with one key (None is no limit).
    ``heartbeat``: seconds without an event after which a stream is sent a comment. ``valid_keys``
    returns which of these key ids are still valid: streams of revoked keys are ended within
    CHECK_KEYS_EVERY.
    """

    def __init__(
        self,
        *,
        feed: FeedStore,
        metrics: Metrics,
        max_streams: int,
        max_of_a_key: int | None = None,
        heartbeat: float,
        valid_keys: Callable[[set[str]], Awaitable[set[str]]],
    ) -> None:
        self._feed = feed
        self._metrics = metrics
        self._max_streams = max_streams
        self._max_of_a_key = max_of_a_key
        self._heartbeat = heartbeat
        self._valid_keys = valid_keys
        self._open: set[Stream] = set()
        self._of_keys: Counter[str] = Counter()
        self._live: dict[str | None, set[Stream]] = {}
        self._position: int | None = None
        self._wake = asyncio.Event()
        self._is_closed = False

    def wake(self) -> None:
        """There are new events. Costs nothing while no stream is live."""
        if self._live:
            self._wake.set()

    def enter(self, stream: Stream) -> None:
        """Register a stream. Raises Unavailable while shutting down, or with too many open, and
        TooManyRequests where its key has too many.
        """
        if self._is_closed or len(self._open) >= self._max_streams:
            raise Unavailable("This server takes no further stream now; try again")
        if self._max_of_a_key and self._of_keys[stream.key_id] >= self._max_of_a_key:
            raise TooManyRequests(
                f"This key has {self._max_of_a_key} streams open here", retry_after=1
            )
        self._of_keys[stream.key_id] += 1
        self._open.add(stream)
        self._metrics.streams_open.set(len(self._open))

    def leave(self, stream: Stream) -> None:
        """Unregister a stream that is open."""
        self._open.discard(stream)
        self._of_keys[stream.key_id] -= 1
        if not self._of_keys[stream.key_id]:
            del self._of_keys[stream.key_id]
        self._metrics.streams_open.set(len(self._open))
        same_app = self._live.get(stream.view.app, set())
        same_app.discard(stream)
        if not same_app:
            self._live.pop(stream.view.app, None)
        if not self._live:
            self._position = None

    async def follow(self, stream: Stream, after: int | None) -> AsyncGenerator[bytes]:
        """The bytes of a registered stream: events after this one or, for None, from now on.

        Past events are read from the database in pages. Then the stream becomes a live one, and
        what was committed in between is read up to exactly where its live events begin: no event
        is missed, none is sent twice. Raises StoreUnavailable.
        """
        if after is None:
            after = await self._join(stream)
            yield opening(event_id(after, await self._feed.era()))
        else:
            yield opening(event_id(after, await self._feed.era()))
            async for chunk in self._catch_up(stream, after):
                yield chunk
        while chunk := await stream.take():
            yield chunk

    async def run(self) -> None:
        """Read new events and publish them to the live streams, until cancelled."""
        while True:
            await self._pause()
            try:
                await self._publish_new()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("stream_reader_waits", reason=error.detail)
            except Exception:
                log.exception("stream_reader_failed")

    async def send_heartbeats(self) -> None:
        """Send a comment to streams without events, until cancelled: proxies close idle ones."""
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            for turn, stream in enumerate(tuple(self._open)):
                if stream.is_quiet:
                    stream.offer(HEARTBEAT)
                stream.is_quiet = True
                if turn % HEARTBEAT_BATCH == 0:
                    await asyncio.sleep(0)

    async def check_keys(self) -> None:
        """End the streams whose keys have been revoked, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_KEYS_EVERY)
            try:
                await self.end_revoked()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("stream_keys_not_checked", reason=error.detail)

    async def end_revoked(self) -> None:
        """End the streams whose keys are revoked by now. Raises StoreUnavailable."""
        held = {stream.key_id for stream in self._open}
        gone = held - await self._valid_keys(held) if held else set()
        for stream in tuple(self._open):
            if stream.key_id in gone:
                stream.end()

    def rewind(self, number: int) -> None:
        """The database has forgotten the events above this number: read on from there."""
        if self._position is not None:
            self._position = min(self._position, number)
        for stream in self._open:
            stream.floor = min(stream.floor, number)
        self.wake()

    def close(self) -> None:
        """End every stream, and abort those still open after CLOSE_TIMEOUT. Idempotent."""
        self._is_closed = True
        for stream in tuple(self._open):
            stream.end()
        if self._open:
            asyncio.get_running_loop().call_later(CLOSE_TIMEOUT, self._abort_all)

    def _abort_all(self) -> None:
        for stream in tuple(self._open):
            stream.cut()

    async def _catch_up(self, stream: Stream, after: int) -> AsyncGenerator[bytes]:
        until: int | None = None
        while not stream.has_ended:
            page = await self._feed.page(after=after, app=stream.view.app, limit=PAGE, until=until)
            yield b"".join(encode(e) for e in page if stream.view.wants(e)) or HEARTBEAT
            after = page[-1].number if page else after
            if len(page) == PAGE:
                continue
            if until is not None:
                return
            # Our reader may be behind this page (`after` can come from another replica).
            stream.floor = after
            until = await self._join(stream)

    async def _join(self, stream: Stream) -> int:
        """Make a stream live. Returns N: every event above N is published to it, in order."""
        if self._position is None:
            newest = await self._feed.newest()
            if self._position is None:  # no other stream joined meanwhile
                self._position = newest
        self._live.setdefault(stream.view.app, set()).add(stream)
        self._wake.set()
        return self._position

    async def _pause(self) -> None:
        await asyncio.sleep(MIN_PAUSE)
        await wait_for_event(self._wake, POLL_EVERY if self._live else None)
        self._wake.clear()

    async def _publish_new(self) -> None:
        """Read and publish new events, page by page, until there are none."""
        while self._position is not None:
            position = self._position
            page = await self._feed.page(after=position, app=None, limit=PAGE)
            if self._position != position or not page:
                return  # moved meanwhile, by ``rewind`` or by streams that left and joined
            for event in page:
                self._publish(event)
            self._position = page[-1].number
            if len(page) < PAGE:
                return
            await asyncio.sleep(0)

    def _publish(self, event: Event) -> None:
        chunk: bytes | None = None
        for app in (event.app, None):
            for stream in tuple(self._live.get(app, ())):
                if not stream.wants(event):
                    continue
                chunk = chunk or encode(event)
                if not stream.offer(chunk):
                    log.warning("slow_stream_cut", app=stream.view.app, waiting=QUEUE)
                    stream.cut()
