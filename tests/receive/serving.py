"""A real `dlr serve`, callers that hold its keys, and raw connections for what no client does."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from app.model.api_key import digest, new_secret
from app.store.engine import Database
from app.store.keys import KeyStore
from tests.support.front import in_front_of
from tests.support.ports import free_port
from tests.support.process import ServerProcess

AUTH_HEADER = "X-Custom-Header"
SECRET = "the-s3cret-of-today"
PREVIOUS = ("the-s3cret-of-yesterday", "an-older 0ne")
CALLBACK_HEADERS = {AUTH_HEADER: SECRET}
PATIENCE = 10.0
"""Seconds to wait for what must come; only a failing test waits that long."""

Answer = TypeVar("Answer")


def environment(database_url: str, **more: str) -> dict[str, str]:
    """The settings of a service that knows no iovox."""
    return {
        "DLR_DATABASE_URL": database_url,
        "DLR_PUBLIC_URL": "http://127.0.0.1:1",
        "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,{AUTH_HEADER}: {SECRET}",
        "DLR_CALLBACK_PREVIOUS_SECRETS": ",".join(PREVIOUS),
        "DLR_IOVOX_URL": f"http://127.0.0.1:{free_port()}",
        "DLR_IOVOX_USERNAME": "someone",
        "DLR_IOVOX_SECURE_KEY": "iovox-s3cure-key",
        **more,
    }


@dataclass(frozen=True)
class Service:
    """A running server and the database behind it."""

    url: str
    database_url: str
    process: ServerProcess

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def client(self, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=PATIENCE)

    def key(self, *scopes: str, app: str = "billing") -> str:
        """A new key of this app."""
        return create_key(self.database_url, *scopes, app=app)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=PATIENCE)


def serve(database_url: str, *, port: int | None = None, **more: str) -> Service:
    """Start a server. Its ``process`` is the caller's to close."""
    port = port or free_port()
    process = ServerProcess.fork(
        ["serve", "--port", str(port)],
        environment(database_url, **more),
        f"http://127.0.0.1:{port}/healthz",
    )
    return Service(f"http://127.0.0.1:{in_front_of(port)}", database_url, process)


@contextmanager
def serving_a_copy(template: Path, folder: Path, *, failed_logins: int = 60) -> Iterator[Service]:
    """A server on a copy of an SQLite database. No iovox listens: a send that is understood is
    queued, and that is all.
    """
    shutil.copytree(template, folder, dirs_exist_ok=True)
    url = f"sqlite:///{folder / 'dlr.db'}"
    service = serve(url, DLR_LOG_LEVEL="warning", DLR_FAILED_LOGINS=str(failed_logins))
    with service.process:
        yield service


def create_key(database_url: str, *scopes: str, app: str = "billing") -> str:
    secret = new_secret()

    async def add() -> None:
        database = Database(database_url)
        await KeyStore(database).add(
            key_id=secret[-12:], app=app, digest=digest(secret), scopes=frozenset(scopes)
        )
        await database.close()

    run(add())
    return secret


def run(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run it to its end in a thread: the caller's own may have an event loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def body(sms_activity_id: str, status: str, second: int = 0, **fields: object) -> bytes:
    """A receipt as iovox writes it, this many seconds after noon in London."""
    return json.dumps(
        {
            "sms_activity_id": sms_activity_id,
            "delivery_status": "as the test says",
            "status_reason": "1",
            "receipt_timestamp": f"2020-05-06 12:{second // 60:02}:{second % 60:02}",
            "status": status,
            **fields,
        }
    ).encode()


@dataclass(frozen=True)
class RawAnswer:
    """An answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


def read_answer(connection: socket.socket) -> RawAnswer:
    """One answer with a Content-Length. ConnectionError where the other side hangs up instead."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, rest = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {n.lower(): v for n, _, v in (line.partition(": ") for line in lines[1:])}
    while len(rest) < int(headers.get("content-length", 0)):
        rest += _some(connection)
    return RawAnswer(int(lines[0].split()[1]), headers, rest)


def hung_up(connection: socket.socket, within: float) -> bool:
    """Whether the other side closes the connection in this many seconds."""
    deadline = time.monotonic() + within
    try:
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return False


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the server hung up")
    return data
