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
from tests.record.test_dumps import Commands
from tests.support.load import drive, post
from tests.support.ports import free_port
from tests.support.postgresql import PostgresServer
from tests.support.process import ServerProcess
from tests.support.standby import Cluster
from tests.upgrade.releases import COMPATIBLE, Release, newer

PATIENCE = 90.0
"""Seconds that a client goes on trying."""
MB = 1_000_000
DATABASE = "dlr"


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
    """Seconds, MB resident, open descriptors."""

    async def start(self, release: Release | None) -> None:
        """None: the release under test, in a fraction of the time."""
        self.service.close()
        if release is None:
            await self.service.fork()
        else:
            await self.service.start(env=release.env({}))

    def look(self, now: float) -> None:
        running = self.service._forked or self.service.process
        assert running is not None
        process = psutil.Process(running.pid)
        self.looks.append((now, process.memory_info().rss / MB, process.num_fds()))

    def slope(self) -> float:
        """MB a minute over the looks, by least squares."""
        times = [now / 60 for now, _, _ in self.looks]
        sizes = [size for _, size, _ in self.looks]
        mid, mean = sum(times) / len(times), sum(sizes) / len(sizes)
        spread = sum((each - mid) ** 2 for each in times)
        pairs = zip(times, sizes, strict=True)
        return sum((now - mid) * (size - mean) for now, size in pairs) / spread


class World:
    """Everything that takes part, and how each is restarted, taken over, set back or upgraded."""

    def __init__(self, folder: Path, servers: Cluster, chaos: str) -> None:
        self.iovox = Iovox(chaos)
        self.servers = servers
        self.primary: PostgresServer = servers.primary
        self.url = servers.url(DATABASE, words="")
        self.settings = SETTINGS | {"DLR_DATABASE_URL": self.url, "DLR_IOVOX_URL": self.iovox.url}
        self.replicas = [self._replica(folder / name, self.url) for name in ("a", "b")]
        self._release: Release | None = None
        self._next = folder / "next"
        self._dumps = Commands(folder)

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
            await replica.start(None)

    async def kill_database(self) -> None:
        await asyncio.to_thread(self.primary.kill)
        await asyncio.sleep(1)
        await asyncio.to_thread(self.primary.start)

    async def restart_replica(self) -> None:
        await self._restart(self.replicas[0])

    async def kill_replica(self) -> None:
        self.replicas[1].service.kill()
        await self.replicas[1].start(self._release)

    async def roll_back(self) -> None:
        """By the commands of docs/operations.md: what is acknowledged meanwhile is forgotten."""
        await self._dumps.run(self._dumps.back_up, self.url)
        await asyncio.sleep(1)
        await self._dumps.run(self._dumps.swap, self.url)
        await asyncio.to_thread(self.primary.drop_database, f"{DATABASE}_old")

    async def fail_over(self) -> None:
        """The standby has every commit that was acknowledged. There is no other one after it."""
        await asyncio.to_thread(self.primary.kill)
        await asyncio.to_thread(self.servers.standby.promote)
        self.primary = self.servers.standby

    async def upgrade(self) -> None:
        """To a release with one more migration, a replica after the other."""
        self._release = newer(self._next, ("9001_compatible", COMPATIBLE))
        done = await asyncio.to_thread(self._release.dlr, ["migrate"], self.settings)
        assert done.returncode == 0, done.stderr
        for replica in self.replicas:
            await self._restart(replica)

    async def _restart(self, replica: Replica) -> None:
        await replica.service.terminate(within=40)
        await replica.start(self._release)

    def close(self) -> None:
        for replica in self.replicas:
            replica.service.close()
        self.iovox.close()
