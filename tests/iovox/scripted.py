"""A real HTTP server on loopback that sends exactly the bytes that a test gives it."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Act = Callable[[asyncio.StreamWriter], Awaitable[None]]
ACTIVITY_ID = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"
ACCEPTED = f"""<?xml version="1.0" encoding="UTF-8"?>
<response>
        <sms_activity_id>{ACTIVITY_ID}</sms_activity_id>
</response>
"""


def http(status: int, body: str | bytes = b"", **headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(content)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def errors(*pairs: tuple[int | None, str]) -> str:
    nodes = "".join(
        f"<error>{text}</error>" if status is None else f'<error status="{status}">{text}</error>'
        for status, text in pairs
    )
    return f'<?xml version="1.0" encoding="utf-8"?><errors>{nodes}</errors>'


class Scripted:
    """Answers every request with ``answer``: bytes, or a callable that writes to the connection.

    The connection is kept after bytes, and closed after an act.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answer: bytes | Act = http(201, ACCEPTED)
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"(?i)content-length: (\d+)", head)
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(length[1]) if length else 0))
                if not isinstance(self.answer, bytes):
                    await self.answer(writer)
                    return
                writer.write(self.answer)
                await writer.drain()
        except (OSError, EOFError):
            pass  # the client left, as clients do
        finally:
            self._writers.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Close every connection, as a server does with idle ones."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def scripted(tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    double = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(double.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    double.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield double
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close on the loop's next turn
