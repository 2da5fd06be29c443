"""Callers that do a service no good: `python -m tests.safety.crowd PORT IDLE SLOW FLOODING`.

A process of its own, so that what it costs is not measured as the service's. It says "here" on a
line once all are connected, and goes on until it is killed.
"""

from __future__ import annotations

import asyncio
import resource
import sys

DRIP = 0.2
"""Seconds between two bytes of one that is slow."""
AT_ONCE = 8
"""Requests that one that floods sends before it reads."""
REQUESTS = [
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /dlr HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dlr_none\r\n\r\n",
    b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
]
HEAD = b"POST /dlr HTTP/1.1\r\nHost: x\r\nX-Custom-Header: the-s3cret-of-today\r\n"


async def idle(port: int, came: asyncio.Semaphore) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    came.release()
    await asyncio.sleep(3600)
    writer.close()


async def slow(port: int, came: asyncio.Semaphore) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Content-Length: 5000\r\n\r\n")
    came.release()
    while True:
        await asyncio.sleep(DRIP)
        writer.write(b" ")


async def flooding(port: int, came: asyncio.Semaphore, number: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    came.release()
    while True:
        writer.write(REQUESTS[number % len(REQUESTS)] * AT_ONCE)
        await reader.read(65_536)


async def main(port: int, *counts: int) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    came = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        for _ in range(counts[0]):
            group.create_task(idle(port, came))
        for _ in range(counts[1]):
            group.create_task(slow(port, came))
        for number in range(counts[2]):
            group.create_task(flooding(port, came, number))
        for _ in range(sum(counts)):
            await came.acquire()
        sys.stdout.write("here\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
