"""Servers below HTTP: each connection is a test's own to read, write, hold or break."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Serve every connection to the port; one whose ``serve`` has returned is closed."""
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, EOFError):
            pass  # the client left, as clients do
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(run(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close on the loop's next turn


async def say_nothing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(60)


async def flush(writer: asyncio.StreamWriter) -> None:
    """Until the kernel has it: a loop may keep what is written until its next turn."""
    while writer.transport.get_write_buffer_size():  # noqa: ASYNC110
        await asyncio.sleep(0)


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection by a RST instead of a FIN."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter, how: str) -> None:
    """End a connection whose last bytes have left: by "close" or by "reset"."""
    await flush(writer)
    if how == "reset":
        reset(writer)
    else:
        writer.close()


@contextmanager
def blackhole() -> Iterator[int]:
    """A port of 127.0.0.1 where connecting gets no answer: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        try:
            for client in waiting:
                client.setblocking(False)
                client.connect_ex(address)
            with socket.socket() as probe:
                probe.settimeout(0.1)
                try:
                    probe.connect(address)
                except TimeoutError:
                    pass
                else:
                    raise AssertionError("this port answers")
            yield address[1]
        finally:
            for client in waiting:
                client.close()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
