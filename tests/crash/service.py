"""The service under test: real processes on one port and one spool, started and killed at will."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg

from tests.crash.ledger import Key, Row
from tests.crash.waiting import until
from tests.support.nursery import Forked
from tests.support.ports import free_port
from tests.support.process import ServerProcess, clean_environment, nursery

SECRET = "crash-test-secret"
HEADERS = {"Content-Type": "application/json", "X-Custom-Header": SECRET}
SETTINGS = {
    "DLR_PUBLIC_URL": "https://sms.example.com",
    "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,X-Custom-Header: {SECRET}",
    "DLR_IOVOX_URL": "http://127.0.0.1:9",
    "DLR_IOVOX_USERNAME": "crash",
    "DLR_IOVOX_SECURE_KEY": "test",
}


class Service:
    """``dlr serve`` on one port. Its database may be reached through a proxy, or be down."""

    def __init__(
        self,
        folder: Path,
        database_url: str,
        *,
        spool: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.spool = spool or folder / "spool"
        self.port = free_port()
        self.log = folder / "service.log"
        self._env = SETTINGS | {
            "DLR_DATABASE_URL": database_url,
            "DLR_SPOOL_DIR": str(self.spool),
            **(settings or {}),
        }
        self._forked: Forked | None = None
        self.process: ServerProcess | None = None

    # --- starting and ending

    async def start(
        self, *args: str, ready: bool = True, env: Mapping[str, str] | None = None
    ) -> float:
        """With more words and settings; answers the seconds until it was up."""
        began = time.monotonic()
        url = f"http://127.0.0.1:{self.port}/healthz" if ready else None
        # What is preloaded is loaded by a start alone.
        make = ServerProcess.start if "LD_PRELOAD" in (env or {}) else ServerProcess.fork
        self.process = await asyncio.to_thread(
            make,
            ["serve", "--port", str(self.port), *args],
            {**self._env, **(env or {})},
            url,
            60.0,
            cwd=self.folder,
        )
        return time.monotonic() - began

    async def fork(self, *, ready: bool = True, largest_file: int | None = None) -> None:
        """The same out of the nursery."""
        self._forked = await asyncio.to_thread(self._fork, largest_file)
        if ready:
            await self.until_up()

    def _fork(self, largest_file: int | None) -> Forked:
        return Forked(
            nursery(),
            ["serve", "--port", str(self.port)],
            env=clean_environment(self._env),
            cwd=self.folder,
            log=self.log,
            largest_file=largest_file,
        )

    def kill(self) -> None:
        """SIGKILL, in the middle of whatever it does."""
        if self._forked is not None:
            self._forked.kill()
            self._forked.wait(10)  # until then it has the port
            self._forked = None
        if self.process is not None:
            self.process.kill()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """SIGSTOP, and SIGCONT at the end: connections stay open, and nothing is answered."""
        assert self._forked is not None
        os.kill(self._forked.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._forked.pid, signal.SIGCONT)

    async def terminate(self, *, within: float = 20.0) -> float:
        """SIGTERM, as a container's stop; answers the seconds until it had ended."""
        if self._forked is None:
            assert self.process is not None
            began = time.monotonic()
            await asyncio.to_thread(self.process.terminate, within)
            return time.monotonic() - began
        self._forked.terminate()
        return await until(lambda: not self.alive, within=within)

    def close(self) -> None:
        """End what is left of it."""
        self.kill()
        if self.process is not None:
            self.process.close()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        if self._forked is None:
            return self.process is not None and self.process.running
        return self._forked.poll() is None

    def output(self) -> str:
        """What it has logged."""
        forked = self.log.read_text(errors="replace") if self.log.exists() else ""
        return forked + (self.process.output() if self.process is not None else "")

    # --- looking at it

    async def until_up(self, *, within: float = 30.0) -> None:
        """Return when it answers."""
        await until(lambda: self._answers() or not self.alive, within=within)
        if not self.alive:
            raise RuntimeError(f"the service ended:\n{self.output()[-4000:]}")

    async def ready(self) -> tuple[int, dict[str, Any]]:
        """What /readyz says."""
        return await asyncio.to_thread(self._ready)

    def spooled(self) -> int:
        """How many arrivals lie in its spool, seen from outside; -1 where there is none."""
        path = self.spool / "receipts.db"
        if not path.exists():
            return -1
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(path)) as spool:
            return int(spool.execute("select count(*) from arrivals").fetchone()[0])
        return -1

    async def until_spooled(self, least: int = 1, *, within: float = 10.0) -> float:
        """Return when its spool holds so many; answers the seconds it took."""
        return await until(lambda: self.spooled() >= least, within=within)

    async def until_drained(self, *, within: float = 30.0) -> float:
        """Return when its spool is empty; answers the seconds it took."""
        return await until(lambda: self.spooled() == 0, within=within)

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _ready(self) -> tuple[int, dict[str, Any]]:
        url = f"http://127.0.0.1:{self.port}/readyz"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


async def stored(database_url: str) -> dict[Key, Row]:
    """Every receipt in the database; two rows of one are an error."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(
            "select sms_activity_id, status, received_at, times_seen from receipts"
        )
        assert await connection.fetchval("select count(*) from rejected_receipts") == 0
    finally:
        await connection.close()
    found = {(row[0], row[1]): Row(row[2], row[3]) for row in rows}
    assert len(found) == len(rows), "a receipt is stored twice"
    return found
