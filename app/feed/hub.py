"""The live end of the feed: one reader for the whole process, and the open streams behind it.

However many streams are open, the database sees one query a wake-up, and an event becomes bytes
once. Nothing is read while no stream is live.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.feed.streams import HEARTBEAT, QUEUE, Stream, encode, opening
from app.model.event import Event, event_id
from app.ops.metrics import Metrics
from app.parts.lifecycle import wait_for_event
from app.store.feed import FeedStore

PAGE = 500
LOOK_EVERY = 0.5
"""Seconds between looks when nobody says that there is something new: a wake-up may be lost, and
SQLite's never reach another process."""
PAUSE = 0.01
"""Seconds between two looks, however many wake-ups come: under load one look fetches many."""
CLOSE_PATIENCE = 2.0
"""Seconds that open streams have to end by themselves before their connections are cut."""
CHECK_KEYS_EVERY = 30.0
AT_ONCE = 100
"""Streams that are sent a heartbeat before others get their turn on the event loop."""

log = structlog.get_logger(__name__)


class Hub:
    """Open streams, and the reader that feeds them once ``run`` runs.

    ``most``: streams that may be open. ``heartbeat``: seconds after which a silent one is sent a
    comment. ``valid_keys`` answers which of these key ids are still valid: a stream does not
    outlive its key for long.
    """

    def __init__(
        self,
        *,
        feed: FeedStore,
        metrics: Metrics,
        most: int,
        heartbeat: float,
        valid_keys: Callable[[set[str]], Awaitable[set[str]]],
    ) -> None:
        self._feed = feed
        self._metrics = metrics
        self._most = most
        self._heartbeat = heartbeat
        self._valid_keys = valid_keys
        self._open: set[Stream] = set()
        self._live: dict[str | None, set[Stream]] = {}
        self._position: int | None = None
        self._wake = asyncio.Event()
        self._is_closed = False

    @property
    def open_streams(self) -> int:
        """How many there are."""
        return len(self._open)

    def wake(self) -> None:
        """There are new events. Costs nothing while nobody waits for any."""
        if self._live:
            self._wake.set()

    def enter(self, stream: Stream) -> None:
        """Know of a stream. Raises Unavailable while shutting down, or where there are too many."""
        if self._is_closed or len(self._open) >= self._most:
            raise Unavailable("This server takes no further stream now; try again")
        self._open.add(stream)
        self._metrics.streams_open.set(len(self._open))

    def leave(self, stream: Stream) -> None:
        """Forget a stream."""
        self._open.discard(stream)
        self._metrics.streams_open.set(len(self._open))
        same_app = self._live.get(stream.view.app, set())
        same_app.discard(stream)
        if not same_app:
            self._live.pop(stream.view.app, None)
        if not self._live:
            self._position = None

    async def follow(self, stream: Stream, after: int | None) -> AsyncGenerator[bytes]:
        """The bytes of a stream that has entered, from after this event or, for None, from now.

        What is past comes from the database in pages. Then the stream joins the live ones, and
        what was committed in between is read up to exactly where the live events begin: nothing is
        missed, and nothing comes twice. Raises StoreUnavailable.
        """
        if after is None:
            after = await self._join(stream)
            yield opening(event_id(after))
        else:
            yield opening(event_id(after))
            async for chunk in self._catch_up(stream, after):
                yield chunk
        while chunk := await stream.take():
            yield chunk

    async def run(self) -> None:
        """Carry new events to the live streams, until cancelled."""
        while True:
            await self._sleep()
            try:
                await self._advance()
            except (StoreUnavailable, StoreRefused) as error:
                log.warning("stream_reader_waits", reason=error.detail)
            except Exception:
                log.exception("stream_reader_failed")

    async def beat(self) -> None:
        """Send heartbeats to silent streams, until cancelled."""
        while True:
            await asyncio.sleep(self._heartbeat / 2)
            for turn, stream in enumerate(tuple(self._open)):
                if stream.is_quiet:
                    stream.offer(HEARTBEAT)
                stream.is_quiet = True
                if turn % AT_ONCE == 0:
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
        """One look. Raises StoreUnavailable."""
        held = {stream.key_id for stream in self._open}
        gone = held - await self._valid_keys(held) if held else set()
        for stream in tuple(self._open):
            if stream.key_id in gone:
                stream.end()

    def close(self) -> None:
        """End every stream, and cut those that have not ended in CLOSE_PATIENCE. Harmless twice."""
        self._is_closed = True
        for stream in tuple(self._open):
            stream.end()
        if self._open:
            asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self._cut_all)

    def _cut_all(self) -> None:
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
            # Another replica may have shown it more than our own reader has seen by now.
            stream.floor = after
            until = await self._join(stream)

    async def _join(self, stream: Stream) -> int:
        """Let a stream take part; answers N: it is offered every event above N, in order."""
        if self._position is None:
            newest = await self._feed.newest()
            if self._position is None:  # nobody else joined meanwhile
                self._position = newest
        self._live.setdefault(stream.view.app, set()).add(stream)
        self._wake.set()
        return self._position

    async def _sleep(self) -> None:
        await asyncio.sleep(PAUSE)
        await wait_for_event(self._wake, LOOK_EVERY if self._live else None)
        self._wake.clear()

    async def _advance(self) -> None:
        """Read what is new and hand it out, until there is no more."""
        while self._position is not None:
            position = self._position
            page = await self._feed.page(after=position, app=None, limit=PAGE)
            if self._position != position or not page:
                return  # everybody has left meanwhile, and perhaps others have come
            for event in page:
                self._hand_out(event)
            self._position = page[-1].number
            if len(page) < PAGE:
                return
            await asyncio.sleep(0)

    def _hand_out(self, event: Event) -> None:
        chunk: bytes | None = None
        for app in (event.app, None):
            for stream in tuple(self._live.get(app, ())):
                if not stream.wants(event):
                    continue
                chunk = chunk or encode(event)
                if not stream.offer(chunk):
                    log.warning("slow_stream_cut", app=stream.view.app, waiting=QUEUE)
                    stream.cut()
