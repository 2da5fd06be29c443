"""Builds the evidence log, if a signing key is configured."""

from __future__ import annotations

from app.ops.metrics import Metrics
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.document import Documents
from app.record.evidence.log import EvidenceLog
from app.record.evidence.peer_disks import PeerDisks
from app.record.evidence.service import EvidenceService
from app.record.evidence.stamping import Stamper
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
) -> tuple[EvidenceService, EvidenceWorker] | None:
    """The service behind the routes, and the worker that appends; None without
    DLR_EVIDENCE_KEY_FILE.

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
        peers=PeerDisks(disks=EvidenceDisks(database), known=known, now=now),
        keys=evidence_keys(settings.evidence_key_file),
        now=now,
    )
    stamper = None
    if settings.evidence_tsa_url is not None:
        stamper = Stamper(url=settings.evidence_tsa_url, reader=reader, now=now)
    service = EvidenceService(
        log=log, reader=reader, documents=Documents(reader=reader, log=log), history=history
    )
    return service, EvidenceWorker(
        log=log, reader=reader, stamper=stamper, metrics=metrics, now=now
    )
