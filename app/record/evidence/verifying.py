"""Verifies evidence documents: offline, trusting nothing but the keys that the reader brings.

Any bytes yield a report. It is without a fault only if everything that docs/evidence.md demands of
a document holds.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import rfc8785
from pydantic import ValidationError

from app.record.evidence.attestations import (
    check_stamp,
    check_witnesses,
    compare_checkpoint,
    keys_for,
)
from app.record.evidence.chains import check_chains
from app.record.evidence.checkpoint import Checkpoint, open_checkpoint
from app.record.evidence.form import COMMITTED, commitment
from app.record.evidence.merkle import leaf_hash, verify_inclusion
from app.record.evidence.models import Entry, Evidence, LogEntry, Opening
from app.record.evidence.note import VerifierKey
from app.record.evidence.report import Report

LARGEST = 64 * 1024 * 1024
"""Bytes of a document; larger ones are refused unread."""
MOST_FAULTS = 20
"""Faults of a document's form that are reported."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Item:
    """An entry of the document with its leaf hash; ``words`` name it in messages."""

    entry: Entry
    fact: Json
    hash: bytes
    words: str


def verify(
    data: bytes,
    *,
    keys: Sequence[VerifierKey] = (),
    checkpoint: str | None = None,
    tsa: bytes | None = None,
    witnesses: Sequence[VerifierKey] = (),
) -> Report:
    """Verify a document.

    ``keys``: the log's verifier keys, from another source than the document; without any, the
    document's own are used, which is noted. ``checkpoint``: the note of an earlier checkpoint.
    ``tsa``: PEM certificates of the time stamping authority that the reader trusts. ``witnesses``:
    keys, one of which at least must have co-signed.
    """
    report = Report(digest=sha256(data).hexdigest())
    document = _read(data, report)
    if document is None:
        return report
    if not keys:
        report.notes.append(
            "No key was given: the document's own was used, so this shows that it agrees with "
            "itself, and not whose log it is"
        )
    checkpoints: dict[str, Checkpoint] = {}
    for log in document.logs:
        opened = _open_log(log, keys, witnesses, report)
        if opened is None:
            continue
        if opened.origin in checkpoints:
            report.faults.append(f"The log {opened.origin} stands in it twice")
        checkpoints[opened.origin] = opened
        check_stamp(log, opened, tsa, report)
    check_witnesses(document.logs, witnesses, report)
    items = [_item(place, entry) for place, entry in enumerate(document.facts, start=1)]
    proven = {item.hash for item in items if _is_in_log(item, checkpoints, report)}
    check_chains(
        [(item.words, item.fact, item.hash, item.entry.index) for item in items],
        proven,
        [log.origin for log in document.logs],
        report.faults,
    )
    for item in items:
        _check_openings(item, report)
    if not items:
        report.faults.append("There is no fact in it")
    if checkpoint is not None:
        compare_checkpoint(checkpoint, document, checkpoints, keys, report)
    if not report.faults:
        report.holds.insert(0, f"{len(items)} facts are in the log, whole and in their order")
    return report


def _read(data: bytes, report: Report) -> Evidence | None:
    if len(data) > LARGEST:
        report.faults.append(f"It has more than {LARGEST} bytes, which no evidence has")
        return None
    try:
        raw = json.loads(data.decode(), object_pairs_hook=_reject_duplicates)
        form = rfc8785.dumps(raw)
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        report.faults.append(
            f"It is not evidence: it cannot be read as JSON ({_first_line(error)})"
        )
        return None
    try:
        document = Evidence.model_validate(raw)
    except ValidationError as error:
        for fault in error.errors()[:MOST_FAULTS]:
            where = ".".join(str(part) for part in fault["loc"])
            report.faults.append(f"It is not evidence: {where[:100]}: {fault['msg']}")
        return None
    except RecursionError:
        report.faults.append("It is not evidence: it is nested too deeply")
        return None
    if form != data:
        at = next(
            (n for n, (one, other) in enumerate(zip(form, data, strict=False)) if one != other),
            min(len(form), len(data)),
        )
        report.faults.append(f"It was altered: at byte {at} it is not in canonical form")
    body = {name: value for name, value in raw.items() if name != "digest"}
    if sha256(rfc8785.dumps(body)).hexdigest() != document.digest:
        report.faults.append("It was altered: its digest is not that of what it says")
    return document


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__


def _open_log(
    log: LogEntry,
    trusted: Sequence[VerifierKey],
    witnesses: Sequence[VerifierKey],
    report: Report,
) -> Checkpoint | None:
    where = f"The checkpoint of {log.origin[:100]}"
    try:
        own = [VerifierKey.parse(key) for key in log.keys]
        known = keys_for(log.origin, trusted) if trusted else own
        if trusted and not known:
            raise ValueError("the keys that were given are of another log")
        opened = open_checkpoint(log.checkpoint, [*known, *witnesses])
        if opened.origin != log.origin:
            raise ValueError(f"it is one of {opened.origin[:100]}")
    except ValueError as error:
        report.faults.append(f"{where} does not hold: {error}")
        return None
    report.holds.append(f"{where}, of {opened.size} facts, is signed by it")
    return opened


def _item(place: int, entry: Entry) -> _Item:
    fact = entry.fact
    kind = fact.get("type")
    words = f"Fact {place} ({kind if isinstance(kind, str) else '?'})"[:100]
    return _Item(entry, fact, leaf_hash(rfc8785.dumps(fact)), words)


def _is_in_log(item: _Item, checkpoints: dict[str, Checkpoint], report: Report) -> bool:
    """Whether its own inclusion proof holds. A wrong proof is a fault; to have none is not."""
    if item.entry.proof is None:
        return False
    log = item.fact.get("log")
    checkpoint = checkpoints.get(log) if isinstance(log, str) else None
    if checkpoint is None:
        report.faults.append(f"{item.words} is of a log whose checkpoint is not there or not good")
        return False
    proof = [bytes.fromhex(each) for each in item.entry.proof]
    holds = verify_inclusion(
        item.hash,
        index=item.entry.index,
        size=checkpoint.size,
        proof=proof,
        root=checkpoint.root,
    )
    if not holds:
        report.faults.append(
            f"{item.words} is not leaf {item.entry.index} of the log: it or its proof was altered"
        )
    return holds


def _check_openings(item: _Item, report: Report) -> None:
    kind = item.fact.get("type")
    names = COMMITTED.get(kind, ()) if isinstance(kind, str) else ()
    opened = item.entry.opened
    expected = {name for name in names if item.fact.get(name) is not None}
    for name in sorted(expected ^ set(opened)):
        what = "is missing" if name in expected else "stands for nothing in the fact"
        report.faults.append(f"{item.words}: the opening of {name[:50]} {what}")
    for name in names:
        if name not in expected or name not in opened:
            continue
        opening = opened[name]
        if opening is None:
            report.notes.append(
                f"{item.words}: {name} is not shown: it was erased, or left out of this document; "
                "the fact itself stands"
            )
        elif _committed(opening) != item.fact[name]:
            report.faults.append(f"{item.words}: {name} is not what the fact was made of")


def _committed(opening: Opening) -> str | None:
    if (opening.text is None) == (opening.base64 is None):
        return None
    if opening.text is not None:
        value = opening.text.encode()
    else:
        try:
            value = base64.b64decode(opening.base64 or "", validate=True)
        except binascii.Error:
            return None
        if base64.b64encode(value).decode() != opening.base64:  # padding bits that are not 0
            return None
    return commitment(bytes.fromhex(opening.salt), value)
