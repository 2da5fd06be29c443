"""Two replicas, an iovox and a database under a steady load, each restarted in turn."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import psutil

from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, SETTINGS, Service
from tests.support.load import drive, post
from tests.support.ports import free_port
from tests.support.postgresql import PostgresServer
from tests.support.process import ServerProcess

PATIENCE = 90.0
"""Seconds that a client goes on trying."""
MIB = 1024 * 1024


class Iovox:
    """The simulator; what it has accepted is known over its restarts."""

    def __init__(self, chaos: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.accepted: Counter[str] = Counter()
        self._words = ["simulator", "--port", str(self.port), "--chaos", chaos]
        self._process: ServerProcess | None = None

    async def start(self) -> None:
        ready = f"{self.url}/_simulator/counts?brief=1"
        self._process = await asyncio.to_thread(ServerProcess.fork, self._words, {}, ready)

    async def restart(self) -> None:
        """By way of an outage, so that nothing is accepted that was not counted."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            await client.post(f"{self.url}/_simulator/behaviour", json={"down": "503"})
        await self.count()
        self.close()
        await self.start()

    async def count(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            counts = (await client.get(f"{self.url}/_simulator/counts")).json()
        self.accepted += Counter(counts["by_message_id"])

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


class Senders:
    """``async with``: sends to one replica in the background; what was answered is kept."""

    def __init__(self, port: int, key: str, *, per_second: float) -> None:
        self.statuses: Counter[int] = Counter()
        self.acknowledged: list[str] = []
        self._port, self._per_second = port, per_second
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._stopped = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._load = asyncio.create_task(
            drive(
                "127.0.0.1",
                self._port,
                self._requests(),
                8,
                self._on_answer,
                reconnect=True,
                patience=PATIENCE,
                on_body=self._on_body,
            )
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped.set()
        await self._load

    async def _requests(self) -> AsyncIterator[bytes]:
        body = {"origin": "Soak", "destination": "447700900100", "message": "Hello"}
        while not self._stopped.is_set():
            yield post("/v1/messages", self._headers, json.dumps(body).encode())
            await asyncio.sleep(1 / self._per_second)

    def _on_answer(self, _index: int, status: int, _seconds: float) -> None:
        self.statuses[status] += 1

    def _on_body(self, _index: int, body: bytes) -> None:
        answer: dict[str, Any] = json.loads(body) if body else {}
        if "id" in answer:
            self.acknowledged.append(answer["id"])


@dataclass
class Replica:
    """One of two, with what it was sent, and what it has used at each look."""

    service: Service
    ledger: Ledger
    looks: list[tuple[float, float, int]] = field(default_factory=list)
    """Seconds, MiB resident, open descriptors."""

    def look(self, now: float) -> None:
        assert self.service._forked is not None
        process = psutil.Process(self.service._forked.pid)
        self.looks.append((now, process.memory_info().rss / MIB, process.num_fds()))

    def slope(self) -> float:
        """MiB a minute over the looks, by least squares."""
        times = [now / 60 for now, _, _ in self.looks]
        sizes = [size for _, size, _ in self.looks]
        mid, mean = sum(times) / len(times), sum(sizes) / len(sizes)
        spread = sum((each - mid) ** 2 for each in times)
        pairs = zip(times, sizes, strict=True)
        return sum((now - mid) * (size - mean) for now, size in pairs) / spread


class World:
    """Everything that takes part, and how each is restarted."""

    def __init__(self, folder: Path, database: PostgresServer, url: str, chaos: str) -> None:
        self.iovox = Iovox(chaos)
        self.database, self.url = database, url
        self.settings = SETTINGS | {"DLR_DATABASE_URL": url, "DLR_IOVOX_URL": self.iovox.url}
        self.replicas = [self._replica(folder / name, url) for name in ("a", "b")]

    def _replica(self, folder: Path, url: str) -> Replica:
        folder.mkdir()
        settings = {"DLR_IOVOX_URL": self.iovox.url, "DLR_RETRY_FOR": "3600"}
        service = Service(folder, url, settings=settings)
        # The simulator's receipts come to this replica.
        settings["DLR_PUBLIC_URL"] = f"http://127.0.0.1:{service.port}"
        service._env |= settings
        return Replica(service, Ledger(folder.name, HEADERS))

    async def start(self) -> None:
        await self.iovox.start()
        for replica in self.replicas:
            await replica.service.fork()

    async def kill_database(self) -> None:
        await asyncio.to_thread(self.database.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(self.database.start)

    async def restart_replica(self) -> None:
        await self.replicas[0].service.terminate(within=40)
        await self.replicas[0].service.fork()

    async def kill_replica(self) -> None:
        self.replicas[1].service.kill()
        await self.replicas[1].service.fork()

    def close(self) -> None:
        for replica in self.replicas:
            replica.service.close()
        self.iovox.close()
