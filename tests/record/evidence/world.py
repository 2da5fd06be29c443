"""A log over a real database, with messages and receipts to put into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.model.message import Message
from app.model.receipt import Receipt
from app.record.evidence.audit_report import AuditReport
from app.record.evidence.auditing import LogAuditor
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.document import Documents
from app.record.evidence.log import EvidenceLog
from app.record.evidence.note import SigningKey
from app.record.evidence.peer_disks import PeerDisks
from app.store.engine import Database
from app.store.evidence.appending import EvidenceAppender
from app.store.evidence.disks import EvidenceDisks
from app.store.evidence.reading import EvidenceReader
from app.store.messages import MessageStore
from app.store.receipts import ReceiptStore
from app.store.tables import metadata
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
        known = KnownCheckpoints(self.folder)
        disks = EvidenceDisks(self.database)
        self.log = EvidenceLog(
            appender=EvidenceAppender(self.database),
            reader=self.reader,
            known=known,
            peers=PeerDisks(disks=disks, known=known, now=lambda: self.clock),
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

    async def snapshot(self) -> dict[str, list[dict[str, Any]]]:
        """The whole database, for ``roll_back``."""
        async with self.database.read() as connection:
            return {
                table.name: [dict(row._mapping) for row in await connection.execute(select(table))]
                for table in metadata.sorted_tables
            }

    async def roll_back(self, to: dict[str, list[dict[str, Any]]]) -> None:
        """As a restored backup does it: the disk stays as it is."""
        async with self.database.write() as connection:
            for table in reversed(metadata.sorted_tables):
                await connection.execute(table.delete())
            for table in metadata.sorted_tables:
                if rows := to[table.name]:
                    await connection.execute(table.insert(), rows)

    async def change(self, statement: Any) -> None:
        """A statement by somebody other than the service."""
        async with self.database.write() as connection:
            await connection.execute(statement)

    @property
    def documents(self) -> Documents:
        return Documents(reader=self.reader, log=self.log)

    async def audit(self) -> AuditReport:
        known = KnownCheckpoints(self.folder)
        return await LogAuditor(reader=self.reader, log=self.log, known=known).run()
