"""A TCP proxy that misbehaves on demand: what networks and dead servers do to a client."""

import asyncio
import socket
import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Self, cast

from tests.support.ports import free_port

NO_LINGER = struct.pack("ii", 1, 0)  # a close is then a reset
TICK = 1e-6  # apart enough for the event loop to keep delayed pieces in order


class Mode(StrEnum):
    """What the proxy does; a change is felt by the connections that exist, too."""

    PASS = "pass"
    REFUSE = "refuse"  # as if nothing listened: connections are reset, new ones refused
    RESET = "reset"  # connections are reset, new ones as soon as they are made
    BLACKHOLE = "blackhole"  # nothing arrives on either side: no data, no error, no close
    CUT_ANSWERS = "cut-answers"  # requests arrive; the first piece of an answer resets instead


class TcpProxy:
    """Stands before a target on a port of its own; ``delay`` seconds hold up each piece of data.

    What a blackhole has swallowed is lost, so its connections are reset when the mode changes.
    """

    def __init__(self, target_host: str, target_port: int, *, delay: float = 0.0) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self.delay = delay
        self.mode = Mode.PASS
        self.accepted = 0
        self.target = (target_host, target_port)
        self.sides: set[_Side] = set()
        self.connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_listening()
        await self.cut()

    async def switch(self, mode: Mode | str, *, delay: float | None = None) -> None:
        """Does something else from now on; ``delay`` stays as it is unless given."""
        before, self.mode = self.mode, Mode(mode)
        self.delay = self.delay if delay is None else delay
        if self.mode is Mode.REFUSE:
            await self._stop_listening()
        if self.mode in {Mode.REFUSE, Mode.RESET} or before is Mode.BLACKHOLE:
            await self.cut()
        if self.mode is not Mode.REFUSE:
            await self._listen()

    async def cut(self) -> None:
        """Resets every connection there is, and stays in its mode."""
        tasks = list(self.connecting)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self.sides:  # until the event loop has told each that it is closed
            for side in self.sides:
                side.reset()
            await asyncio.sleep(0)

    async def _listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Caller(self), self.host, self.port)

    async def _stop_listening(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        loop = asyncio.get_running_loop()
        for listener in server.sockets:
            loop.remove_reader(listener)
        await asyncio.sleep(0)  # what was just accepted is a side now; asyncio would forget it
        server.close()


class _Side(asyncio.Protocol):
    """One of the two connections of a link; ``peer`` is the other."""

    def __init__(self, proxy: TcpProxy, peer: "_Side | None" = None) -> None:
        self.proxy = proxy
        self.peer = peer
        self.sent_eof = False
        self.early: list[Callable[[], None]] = []
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.proxy.sides.add(self)

    def data_received(self, data: bytes) -> None:
        self._in_time(lambda: self._pass_on(data))

    def eof_received(self) -> bool:
        self._in_time(self._pass_on_eof)
        return True  # the other direction may still be in use

    def connection_lost(self, exc: Exception | None) -> None:
        self.proxy.sides.discard(self)
        if self.peer is not None and self.proxy.mode is not Mode.BLACKHOLE:
            if exc is None:
                self.peer.transport.close()
            else:
                self.peer.reset()

    def pause_writing(self) -> None:
        if self.peer is not None and not self.peer.transport.is_closing():
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None and not self.peer.transport.is_closing():
            self.peer.transport.resume_reading()

    def reset(self) -> None:
        """The other end sees a reset, not an orderly close."""
        connection: socket.socket = self.transport.get_extra_info("socket")
        if not self.transport.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self.transport.abort()

    def _in_time(self, act: Callable[[], None]) -> None:
        if not self.proxy.delay:
            act()
            return
        loop = asyncio.get_running_loop()
        self._due = max(self._due + TICK, loop.time() + self.proxy.delay)
        loop.call_at(self._due, act)

    def _pass_on(self, data: bytes) -> None:
        if self.proxy.mode is Mode.BLACKHOLE:
            return
        if self.peer is None:
            self.early.append(lambda: self._pass_on(data))
        elif self.proxy.mode is Mode.CUT_ANSWERS and not isinstance(self, _Caller):
            self.reset()
            self.peer.reset()
        elif not self.peer.transport.is_closing():
            self.peer.transport.write(data)

    def _pass_on_eof(self) -> None:
        if self.proxy.mode is Mode.BLACKHOLE:
            return
        self.sent_eof = True
        if self.peer is None:
            self.early.append(self._pass_on_eof)
        elif self.peer.sent_eof:
            self.transport.close()
            self.peer.transport.close()
        elif not self.peer.transport.is_closing():
            self.peer.transport.write_eof()


class _Caller(_Side):
    """The side that connected to us; it makes us connect to the target."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.proxy.accepted += 1
        if self.proxy.mode is Mode.RESET:
            self.reset()
        elif self.proxy.mode is not Mode.BLACKHOLE:
            task = asyncio.get_running_loop().create_task(self._reach())
            self.proxy.connecting.add(task)
            task.add_done_callback(self.proxy.connecting.discard)

    async def _reach(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, self.peer = await loop.create_connection(
                lambda: _Side(self.proxy, self), *self.proxy.target
            )
        except OSError:
            self.reset()
            return
        for act in self.early:
            act()
        if self.transport.is_closing():  # the caller did not wait
            self.peer.transport.close()
