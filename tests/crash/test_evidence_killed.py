"""kill -9 while it appends and signs: no leaf twice, none missing, no two that contradict."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from pathlib import Path

import httpx
import pytest

from app.record.evidence.auditing import LogAuditor
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.keys import write_key
from app.record.evidence.log import EvidenceLog
from app.record.evidence.note import SigningKey
from app.record.evidence.peer_disks import PeerDisks
from app.store.engine import Database
from app.store.evidence.appending import EvidenceAppender
from app.store.evidence.disks import EvidenceDisks
from app.store.evidence.reading import EvidenceReader
from tests.crash.clients import Clients
from tests.crash.conftest import ROUNDS
from tests.crash.ledger import Ledger
from tests.crash.service import HEADERS, SETTINGS, Service
from tests.crash.waiting import until
from tests.record.evidence import second_verifier
from tests.support.long import LONG
from tests.support.process import fork_dlr

pytestmark = [pytest.mark.postgresql, pytest.mark.crash, pytest.mark.timeout(120 + 60 * ROUNDS)]

KILLS = (12 if LONG else 7) * ROUNDS


class Watcher:
    """Asks for checkpoints all the time, and keeps each one that was shown."""

    def __init__(self, port: int, key: str) -> None:
        self.shown: list[tuple[str, int, bytes]] = []
        self._url = f"http://127.0.0.1:{port}/v1/evidence"
        self._headers = {"Authorization": f"Bearer {key}"}

    async def run(self) -> None:
        async with httpx.AsyncClient(headers=self._headers, timeout=10) as client:
            while True:
                try:
                    answer = await client.get(f"{self._url}/checkpoint")
                    if answer.status_code == 200:
                        one = answer.json()
                        root = bytes.fromhex(one["root"])
                        self.shown.append((one["origin"], one["size"], root))
                except httpx.HTTPError:
                    await asyncio.sleep(0.05)

    def has_more_than(self, count: int) -> bool:
        return len(self.shown) > count

    async def check(self) -> None:
        """That each goes on from the one before."""
        async with httpx.AsyncClient(headers=self._headers, timeout=10) as client:
            for (_, first, old), (_, second, new) in zip(self.shown, self.shown[1:], strict=False):
                sizes = {"from": first, "to": second}
                answer = await client.get(f"{self._url}/consistency", params=sizes)
                proof = [bytes.fromhex(each) for each in answer.json()["proof"]]
                assert second_verifier.from_old(first, second, proof, old) == (old, new)


async def test_killed_while_it_appends_and_signs(tmp_path: Path, database: str) -> None:
    chance = random.Random(ROUNDS)
    signer = SigningKey.generate("log.example")
    file = tmp_path / "log.key"
    write_key(file, signer)
    settings = {"DLR_EVIDENCE_KEY_FILE": str(file)}
    service = Service(tmp_path, database, settings=settings)
    words = ["keys", "create", "watcher", "--scope", "read"]
    made = await asyncio.to_thread(fork_dlr, words, SETTINGS | {"DLR_DATABASE_URL": database})
    key = made.stdout.strip()
    ledger = Ledger("evidence", HEADERS)
    watcher = Watcher(service.port, key)
    watching = asyncio.create_task(watcher.run())
    try:
        await service.fork()
        await until(lambda: len(watcher.shown) > 0, within=20)  # the log has begun
        async with Clients(service.port, ledger, per_second=300) as clients:
            for _ in range(KILLS):
                seen = len(watcher.shown)
                await clients.answered(10, within=20)
                await asyncio.sleep(chance.uniform(0, 1.2))
                service.kill()
                await service.fork(ready=False)
                if chance.random() < 0.5:
                    await until(partial(watcher.has_more_than, seen), within=20)
            await clients.answered(50, within=30)
        await service.until_drained()
        seen = len(watcher.shown) + 3
        await until(lambda: len(watcher.shown) > seen, within=30)
        watching.cancel()
        await watcher.check()
    finally:
        watching.cancel()
        service.close()
    assert {origin for origin, _, _ in watcher.shown} == {"log.example"}

    opened = Database(database)
    try:
        reader, known = EvidenceReader(opened), KnownCheckpoints(service.spool)
        log = EvidenceLog(
            appender=EvidenceAppender(opened),
            reader=reader,
            known=known,
            peers=PeerDisks(disks=EvidenceDisks(opened), known=known, now=opened.clock.now),
            keys=[signer],
            now=opened.clock.now,
        )
        found = await LogAuditor(reader=reader, log=log, known=known).run()
        assert found.findings == []
        rows = await reader.facts_from(1, 0, 100_000)
        receipts = [row for row in rows if '"type":"receipt"' in row.text]
        assert len(receipts) == found.receipts  # each once
        assert await reader.lag() == (False, None)
    finally:
        await opened.close()
