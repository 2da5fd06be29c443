"""Adds the co-signatures of witnesses (C2SP tlog-cosignature) to checkpoints of the log.

What a witness sends is untrusted: a line is stored only if the witness's key, which the operator
got from another source, verifies it for the text of a checkpoint of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.errors import Conflict, NotFound
from app.record.evidence.checkpoint import Checkpoint, parse_checkpoint
from app.record.evidence.log import checkpoint_of
from app.record.evidence.note import MAX_NOTE, Signed, VerifierKey, open_note
from app.store.evidence.reading import EvidenceReader


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint, with its verified co-signatures."""

    checkpoint: Checkpoint
    signatures: tuple[Signed, ...]


async def add_cosignatures(
    reader: EvidenceReader, note: str, witnesses: Sequence[VerifierKey], *, now: datetime
) -> Cosigned:
    """Add the lines of these witnesses to the stored note, each once. ``note``: as a witness sent
    it back. Raises Conflict (it does not verify), NotFound (the log has no such checkpoint),
    StoreUnavailable.
    """
    try:
        opened = open_note(note, witnesses)
        given = parse_checkpoint(opened.text)
    except ValueError as error:
        raise Conflict(f"Nothing is added: {error}") from None
    row = await reader.checkpoint_at(given.origin, given.size)
    if row is None:
        raise NotFound(f"There is no checkpoint of {given.origin[:100]} at {given.size}")
    if checkpoint_of(row) != given:
        raise Conflict(
            f"Nothing is added: our checkpoint at {given.size} is another one. Somebody has signed "
            "another log in this one's name, or shown the witness another one: compare them"
        )
    lines = [f"{each.line}\n" for each in opened.signatures]
    whole = row.note + "".join(line for line in lines if line not in row.note)
    if len(whole) > MAX_NOTE:
        raise Conflict(f"Nothing is added: the note would have more than {MAX_NOTE} characters")
    if whole != row.note and not await reader.cosign(row, whole, now):
        raise Conflict("Nothing is added: another line was added just now. Try it again")
    return Cosigned(given, opened.signatures)
