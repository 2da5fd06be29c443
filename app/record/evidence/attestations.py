"""Verifies what others attest of a document's checkpoints: time stamps, co-signatures of witnesses,
and a checkpoint that the reader had before. All of it is untrusted until it is verified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from app.record.evidence.checkpoint import Checkpoint, open_checkpoint, unverified_checkpoint
from app.record.evidence.merkle import verify_consistency
from app.record.evidence.models import Evidence, LogEntry
from app.record.evidence.note import VerifierKey, open_note
from app.record.evidence.report import Report
from app.record.evidence.stamps import read_stamp


def keys_for(origin: str, trusted: Sequence[VerifierKey]) -> list[VerifierKey]:
    """The trusted keys that are valid for an origin, under its name: a key's name is an origin, or
    the beginning of one, up to a slash.
    """
    return [
        VerifierKey(origin, key.type, key.public)
        for key in trusted
        if origin == key.name or origin.startswith(f"{key.name}/")
    ]


def check_stamp(log: LogEntry, checkpoint: Checkpoint, tsa: bytes | None, report: Report) -> None:
    """Report the time stamp of a log's checkpoint. ``tsa``: PEM certificates to verify it by;
    without them its signature is not verified, which is noted.
    """
    if log.stamp is None:
        report.notes.append(
            f"No time stamp: the time of the checkpoint of {log.origin[:100]} is not attested"
        )
        return
    try:
        stamp = read_stamp(log.stamp, checkpoint.text.encode(), trusted=tsa)
    except ValueError as error:
        report.faults.append(f"The time stamp of {log.origin[:100]} does not hold: {error}")
        return
    words = (
        f"The checkpoint of {log.origin[:100]} was there at {stamp.at:%Y-%m-%d %H:%M:%S} UTC, "
        f"says {stamp.authority}"
    )
    if tsa is not None:
        report.holds.append(words)
    else:
        report.notes.append(
            f"{words}: with --tsa FILE, that authority's certificates, its signature is checked"
        )


def check_witnesses(
    logs: Sequence[LogEntry], witnesses: Sequence[VerifierKey], report: Report
) -> None:
    """Report which of the given witnesses co-signed which checkpoint; that none did is a fault."""
    if not witnesses:
        return
    found = False
    for log in logs:
        try:
            opened = open_note(log.checkpoint, witnesses)
        except ValueError as error:
            report.notes.append(f"No witness for the checkpoint of {log.origin[:100]}: {error}")
            continue
        found = True
        for each in opened.signatures:
            report.holds.append(
                f"The checkpoint of {log.origin[:100]} is co-signed by the witness "
                f"{each.key.name[:100]}, at {_time_words(each.at or 0)}"
            )
    if not found:
        report.faults.append("None of the witnesses that were given has co-signed a checkpoint")


def _time_words(at: int) -> str:
    """A witness' time: any number of seconds since 1970, also beyond the calendar."""
    try:
        return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{at} seconds after 1970"


def compare_checkpoint(
    note: str,
    document: Evidence,
    checkpoints: Mapping[str, Checkpoint],
    keys: Sequence[VerifierKey],
    report: Report,
) -> None:
    """Report whether the document's log continues an earlier checkpoint that the reader has."""
    try:
        earlier = unverified_checkpoint(note)
        own = [VerifierKey.parse(key) for log in document.logs for key in log.keys]
        open_checkpoint(note, keys_for(earlier.origin, keys or own))
    except ValueError as error:
        report.faults.append(f"The checkpoint that was given does not hold: {error}")
        return
    later = checkpoints.get(earlier.origin)
    if later is None:
        report.faults.append(
            f"The checkpoint that was given is of {earlier.origin[:100]}, and the document is not"
        )
        return
    path = next(
        (
            [bytes.fromhex(each) for each in log.consistency.proof]
            for log in document.logs
            if log.origin == earlier.origin
            and log.consistency is not None
            and log.consistency.from_ == earlier.size
        ),
        [],
    )
    if not path and later.size != earlier.size and earlier.size > 0:
        report.faults.append(
            "The checkpoint that was given cannot be compared: ask for the evidence again with "
            f"?since={earlier.size}"
            if earlier.size < later.size
            else "The checkpoint that was given is newer than the document: ask for it again"
        )
        return
    holds = verify_consistency(
        first=earlier.size,
        second=later.size,
        first_root=earlier.root,
        second_root=later.root,
        proof=path,
    )
    if holds:
        report.holds.append(
            f"The log goes on from your checkpoint of {earlier.size} facts: nothing in it was "
            "changed or taken out since"
        )
    else:
        report.faults.append(
            f"The log is not the one of your checkpoint of {earlier.size} facts: it was changed, "
            "or something was taken out of it"
        )
