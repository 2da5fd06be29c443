"""The commands of `dlr evidence` that need the database: audit, stamp and cosign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from app.cli.configuration import load
from app.cli.database import with_database
from app.cli.output import harmless
from app.errors import ConfigurationError, Conflict, NotFound
from app.record.evidence.audit_report import AuditReport
from app.record.evidence.auditing import LogAuditor
from app.record.evidence.cosigning import add_cosignatures
from app.record.evidence.disk import KnownCheckpoints
from app.record.evidence.keys import read_keys
from app.record.evidence.log import EvidenceLog
from app.record.evidence.note import SigningKey, VerifierKey
from app.record.evidence.peer_disks import PeerDisks
from app.record.evidence.stamping import NotStamped, Stamper
from app.settings import Settings, report
from app.store.engine import Database
from app.store.evidence.appending import EvidenceAppender
from app.store.evidence.disks import EvidenceDisks
from app.store.evidence.reading import EvidenceReader


def run_audit() -> AuditReport:
    """Audit the log. Raises ConfigurationError (no key is set), StoreUnavailable."""
    settings = load()
    keys = _keys(settings)

    async def audit(database: Database) -> AuditReport:
        reader = EvidenceReader(database)
        known = KnownCheckpoints(settings.spool_dir)
        log = _log(database, reader, known, keys)
        return await LogAuditor(reader=reader, log=log, known=known).run()

    return with_database(settings, audit)


def run_stamp() -> str:
    """Have the newest checkpoint time-stamped. Raises Conflict where the authority refuses,
    ConfigurationError, NotFound.
    """
    settings = load()
    keys = _keys(settings)
    url = settings.evidence_tsa_url
    if url is None:
        raise ConfigurationError(report({"evidence_tsa_url": "is not set"}))

    async def stamp(database: Database) -> str:
        reader = EvidenceReader(database)
        log = _log(database, reader, KnownCheckpoints(settings.spool_dir), keys)
        _, newest = await reader.newest()
        if newest is None:
            raise NotFound("There is no checkpoint yet")
        newest = await log.publish(newest)
        stamper = Stamper(url=url, reader=reader, now=database.clock.now)
        try:
            found = await stamper.stamp(newest)
        except NotStamped as error:
            raise Conflict(f"It is not stamped: {error}") from None
        return (
            f"The checkpoint of {newest.size} facts was there at {found.at:%Y-%m-%d %H:%M:%S} UTC"
        )

    return with_database(settings, stamp)


def run_cosign(note: str, witnesses: Sequence[VerifierKey]) -> str:
    """Store witnesses' co-signatures. Raises Conflict (one is not valid), NotFound."""

    async def cosign(database: Database) -> str:
        reader = EvidenceReader(database)
        added = await add_cosignatures(reader, note, witnesses, now=database.clock.now())
        names = ", ".join(each.key.name for each in added.signatures)
        return harmless(
            f"The checkpoint of {added.checkpoint.size} facts of {added.checkpoint.origin} is "
            f"co-signed by {names}"
        )

    return with_database(load(), cosign)


def _keys(settings: Settings) -> list[SigningKey]:
    file: Path | None = settings.evidence_key_file
    if file is None:
        raise ConfigurationError(report({"evidence_key_file": "is not set"}))
    try:
        return read_keys(file)
    except ValueError as error:
        raise ConfigurationError(report({"evidence_key_file": str(error)})) from None


def _log(
    database: Database, reader: EvidenceReader, known: KnownCheckpoints, keys: list[SigningKey]
) -> EvidenceLog:
    return EvidenceLog(
        appender=EvidenceAppender(database),
        reader=reader,
        known=known,
        peers=PeerDisks(disks=EvidenceDisks(database), known=known, now=database.clock.now),
        keys=keys,
        now=database.clock.now,
    )
