"""Builds the evidence log, where there is a key that signs it."""

from __future__ import annotations

from app.ops.metrics import Metrics
from app.record.evidence.desk import EvidenceDesk
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.document import Documents
from app.record.evidence.log import EvidenceLog
from app.record.evidence.stamping import Stamper
from app.record.evidence.witnesses import Witnesses
from app.record.evidence.worker import EvidenceWorker
from app.runtime.configured import evidence_keys
from app.settings import Settings
from app.store.clock import Now
from app.store.engine import Database
from app.store.evidence.appending import EvidenceAppender
from app.store.evidence.disks import EvidenceDisks
from app.store.evidence.reading import EvidenceReader
from app.store.history import HistoryStore


def build_evidence(
    settings: Settings,
    *,
    database: Database,
    history: HistoryStore,
    metrics: Metrics,
    now: Now,
) -> tuple[EvidenceDesk, EvidenceWorker] | None:
    """What answers and what appends; None without DLR_EVIDENCE_KEY_FILE.

    Raises ConfigurationError.
    """
    if settings.evidence_key_file is None:
        return None
    reader = EvidenceReader(database)
    known = KnownCheckpoints(settings.spool_dir)
    log = EvidenceLog(
        appender=EvidenceAppender(database),
        reader=reader,
        known=known,
        witnesses=Witnesses(disks=EvidenceDisks(database), known=known, now=now),
        keys=evidence_keys(settings.evidence_key_file),
        now=now,
    )
    stamper = None
    if settings.evidence_tsa_url is not None:
        stamper = Stamper(url=settings.evidence_tsa_url, reader=reader, now=now)
    desk = EvidenceDesk(
        log=log, reader=reader, documents=Documents(reader=reader, log=log), history=history
    )
    return desk, EvidenceWorker(log=log, reader=reader, stamper=stamper, metrics=metrics, now=now)
