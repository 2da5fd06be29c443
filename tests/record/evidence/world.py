"""A log over a real database, with messages and receipts to put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.model.message import Message
from app.model.receipt import Receipt
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.log import EvidenceLog
from app.record.evidence.note import SigningKey
from app.store.engine import Database
from app.store.evidence.appending import EvidenceAppender
from app.store.evidence.reading import EvidenceReader
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from tests.store.samples import acceptance, recorded

KEY = SigningKey.generate("log.example/receipts")


@dataclass
class World:
    database: Database
    folder: Path
    keys: Sequence[SigningKey] = (KEY,)
    log: EvidenceLog = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.clock = datetime(2026, 11, 22, 9, tzinfo=UTC)
        self.reader = EvidenceReader(self.database)
        self.messages = MessageStore(self.database)
        self.receipts = ReceiptStore(self.database)
        self.restart()

    def restart(self, folder: Path | None = None) -> None:
        """Another process, on this disk or another one."""
        if folder is not None:
            folder.mkdir(exist_ok=True)
            self.folder = folder
        self.log = EvidenceLog(
            appender=EvidenceAppender(self.database),
            reader=self.reader,
            known=KnownCheckpoints(self.folder),
            keys=self.keys,
            now=lambda: self.clock,
        )

    def later(self, **period: float) -> None:
        self.clock += timedelta(**period)

    async def drain(self) -> None:
        while not await self.log.append():
            pass

    async def send(self, *messages: Message) -> None:
        await self.messages.add(recorded(*messages))

    async def accept(self, of: Message, sms_activity_id: str) -> None:
        await self.messages.accepted([acceptance(of, sms_activity_id)])

    async def receive(self, *receipts: Receipt) -> None:
        await self.receipts.add(receipts, [])
