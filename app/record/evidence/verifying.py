"""Verifies evidence: offline, and on no trust but in the keys that the reader brings.

Whatever the bytes are, the answer is a report in words; it has no fault only if everything that
docs/evidence.md demands holds.
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

from app.record.evidence.chains import check_chains
from app.record.evidence.checkpoint import Checkpoint, open_checkpoint
from app.record.evidence.form import COMMITTED, commitment
from app.record.evidence.merkle import leaf_hash, verify_inclusion
from app.record.evidence.models import Entry, Evidence, LogEntry, Opening
from app.record.evidence.note import VerifierKey
from app.record.evidence.outside import check_stamp, check_witnesses, compare_checkpoint, keys_for
from app.record.evidence.report import Report

LARGEST = 64 * 1024 * 1024
"""Bytes of a document that is looked at."""
MOST_SHOWN = 20

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Link:
    """A fact that was read: where it stands, and its leaf's hash."""

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
    """``keys``: the log's, from elsewhere than the document; without any its own are used, and
    that is noted. ``checkpoint``: a note that the reader had before. ``tsa``: PEM certificates of
    the time stamping authority that the reader trusts. ``witnesses``: keys of those of whom one at
    least must have co-signed.
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
    links = [_link(place, entry) for place, entry in enumerate(document.facts, start=1)]
    proven = {link.hash for link in links if _is_in_log(link, checkpoints, report)}
    check_chains(
        [(link.words, link.fact, link.hash, link.entry.index) for link in links],
        proven,
        [log.origin for log in document.logs],
        report.faults,
    )
    for link in links:
        _check_openings(link, report)
    if not links:
        report.faults.append("There is no fact in it")
    if checkpoint is not None:
        compare_checkpoint(checkpoint, document, checkpoints, keys, report)
    if not report.faults:
        report.holds.insert(0, f"{len(links)} facts are in the log, whole and in their order")
    return report


def _read(data: bytes, report: Report) -> Evidence | None:
    if len(data) > LARGEST:
        report.faults.append(f"It has more than {LARGEST} bytes, which no evidence has")
        return None
    try:
        raw = json.loads(data.decode(), object_pairs_hook=_once)
        form = rfc8785.dumps(raw)
    except (ValueError, RecursionError, rfc8785.CanonicalizationError) as error:
        report.faults.append(f"It is not evidence: it cannot be read as JSON ({_first(error)})")
        return None
    try:
        document = Evidence.model_validate(raw)
    except ValidationError as error:
        for fault in error.errors()[:MOST_SHOWN]:
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


def _once(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _first(error: Exception) -> str:
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


def _link(place: int, entry: Entry) -> Link:
    fact = entry.fact
    kind = fact.get("type")
    words = f"Fact {place} ({kind if isinstance(kind, str) else '?'})"[:100]
    return Link(entry, fact, leaf_hash(rfc8785.dumps(fact)), words)


def _is_in_log(link: Link, checkpoints: dict[str, Checkpoint], report: Report) -> bool:
    """Whether its own proof shows that; a wrong one is a fault, none is not."""
    if link.entry.proof is None:
        return False
    log = link.fact.get("log")
    checkpoint = checkpoints.get(log) if isinstance(log, str) else None
    if checkpoint is None:
        report.faults.append(f"{link.words} is of a log whose checkpoint is not there or not good")
        return False
    proof = [bytes.fromhex(each) for each in link.entry.proof]
    holds = verify_inclusion(
        link.hash,
        index=link.entry.index,
        size=checkpoint.size,
        proof=proof,
        root=checkpoint.root,
    )
    if not holds:
        report.faults.append(
            f"{link.words} is not leaf {link.entry.index} of the log: it or its proof was altered"
        )
    return holds


def _check_openings(link: Link, report: Report) -> None:
    kind = link.fact.get("type")
    names = COMMITTED.get(kind, ()) if isinstance(kind, str) else ()
    opened = link.entry.opened
    expected = {name for name in names if link.fact.get(name) is not None}
    for name in sorted(expected ^ set(opened)):
        what = "is missing" if name in expected else "stands for nothing in the fact"
        report.faults.append(f"{link.words}: the opening of {name[:50]} {what}")
    for name in names:
        if name not in expected or name not in opened:
            continue
        opening = opened[name]
        if opening is None:
            report.notes.append(
                f"{link.words}: {name} is not shown: it was erased, or left out of this document; "
                "the fact itself stands"
            )
        elif _committed(opening) != link.fact[name]:
            report.faults.append(f"{link.words}: {name} is not what the fact was made of")


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
    return commitment(bytes.fromhex(opening.salt), value)
