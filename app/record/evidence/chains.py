"""Verifies the chains of a document's facts: none is left out before the last one. Pure.

Facts are untrusted: any JSON object.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from app.record.evidence.form import VERSION

Json = dict[str, Any]
Item = tuple[str, Json, bytes, int]
"""A description of a fact for messages, the fact, its leaf hash, and its index in its log."""

_HASH = re.compile("[0-9a-f]{64}")
COMMON = {"v", "type", "log", "nonce", "number", "previous"}
FIELDS: Mapping[str, set[str]] = {
    "recorded": {
        "message", "app", "at", "origin", "expiry", "c2c_failover_link_id", "send_at", "resend_of",
        "destination", "text", "reference",
    },
    "step": {"message", "status", "at", "reasons"},
    "attached": {"message", "sms_activity_id", "at", "joins"},
    "receipt": {
        "message", "sms_activity_id", "receipt", "received_at", "status", "at", "time_quality",
        "body",
    },
}  # fmt: skip
"""The names of each type's fields. Other types are of later releases: their content is ignored."""


def check_chains(
    facts: Sequence[Item],
    proven: Collection[bytes],
    logs: Sequence[str],
    faults: list[str],
) -> None:
    """Add what is wrong to ``faults``.

    ``proven``: leaf hashes whose inclusion proof holds. Any other fact must be the predecessor of
    one that is covered, which has its hash. ``logs``: origins, oldest first.
    """
    chains: dict[str | None, list[Item]] = {}
    for item in facts:
        if not _is_well_formed(item, faults):
            return
        chains.setdefault(item[1]["message"], []).append(item)
    if len(chains) - (None in chains) > 1:
        faults.append("There are facts of more than one message in it")
        return
    joined = chains.pop(None, [])
    own = next(iter(chains.values()), [])
    _check_chain(joined, logs, faults)
    _check_chain(own, logs, faults)
    _check_join(joined, own, faults)
    covered = set(proven)
    for words, fact, hash_, _index in [*reversed(own), *reversed(joined)]:
        if hash_ not in covered:
            faults.append(f"{words} is in no log: it has no proof, and no later fact covers it")
            continue
        covered |= {bytes.fromhex(each) for each in _covers(fact)}


def _is_well_formed(item: Item, faults: list[str]) -> bool:
    words, fact, _hash, _index = item
    previous = fact.get("previous")
    number = fact.get("number")
    kind = fact.get("type")
    fault = None
    if fact.get("v") != VERSION or fact["v"] is True:
        fault = f"is not of version {VERSION}"
    elif not isinstance(kind, str) or not isinstance(fact.get("log"), str):
        fault = "has no type or no log"
    elif not isinstance(number, int) or isinstance(number, bool) or number < 1:
        fault = "has no number"
    elif not _is_hash(fact.get("nonce")) or not (previous is None or _is_hash(previous)):
        fault = "has no nonce, or a predecessor that is no hash"
    elif kind in FIELDS and set(fact) != COMMON | FIELDS[kind]:
        odd = sorted(set(fact) ^ (COMMON | FIELDS[kind]))
        fault = f"has a field too many or too few: {odd[0][:50]}"
    elif not isinstance(fact.get("message", 0), str | None):
        fault = "is of no message"
    elif not isinstance(fact.get("sms_activity_id", ""), str):
        fault = "is of no sms_activity_id"
    elif kind == "attached" and not _is_join(fact["joins"]):
        fault = "joins something that is no fact"
    if fault:
        faults.append(f"{words} {fault}")
    return fault is None


def _check_chain(chain: Sequence[Item], logs: Sequence[str], faults: list[str]) -> None:
    before: Item | None = None
    for item in chain:
        words, fact, _hash, index = item
        number = before[1]["number"] + 1 if before else 1
        previous = before[2].hex() if before else None
        if fact["number"] > number:
            left_out = fact["number"] - number
            faults.append(f"{words} is number {fact['number']}: {left_out} before it are left out")
        elif fact["number"] < number:
            faults.append(f"{words} is number {fact['number']}, and stands at the wrong place")
        elif fact["previous"] != previous:
            faults.append(f"{words} does not follow on the one before it: that was altered")
        if before is not None:
            same_log = fact["log"] == before[1]["log"]
            if same_log and index <= before[3]:
                faults.append(f"{words} stands in the log before its predecessor")
            if not same_log and not _is_later(before[1]["log"], fact["log"], logs):
                faults.append(f"{words} is of an earlier log than its predecessor")
        before = item


def _is_later(first: str, second: str, logs: Sequence[str]) -> bool:
    """True also where one is not listed: a log without a checkpoint is not in the document."""
    if first not in logs or second not in logs:
        return True
    return logs.index(first) < logs.index(second)


def _check_join(joined: Sequence[Item], own: Sequence[Item], faults: list[str]) -> None:
    """Facts of the sms_activity_id from before it was the message's: `joins` names the last one."""
    attached = [fact for _, fact, _, _ in own if fact["type"] == "attached"]
    if len(attached) > 1:
        faults.append("The message is attached twice")
    names = {fact.get("sms_activity_id") for _, fact, _, _ in joined}
    if own and own[0][1]["type"] != "recorded":
        faults.append(f"{own[0][0]} begins the message's facts, and is not its record")
    if own:
        names |= {
            fact["sms_activity_id"]
            for _, fact, _, _ in own
            if fact["type"] in ("attached", "receipt")
        }
    if len(names) > 1:
        faults.append("There are receipts of more than one sms_activity_id in it")
    joins = attached[0]["joins"] if attached else None
    if joins is None:
        if joined and own:
            faults.append("There are receipts in it that the message's facts do not join")
        return
    if not joined:
        faults.append(f"The {joins['number']} facts that the message joins are left out")
        return
    words, last, hash_, _ = joined[-1]
    if last["number"] < joins["number"]:
        left_out = joins["number"] - last["number"]
        faults.append(f"Behind {words} facts are left out that the message joins: {left_out}")
    elif (last["number"], hash_.hex()) != (joins["number"], joins["hash"]):
        faults.append(f"{words} is not the one that the message's attachment joins")


def _covers(fact: Json) -> list[str]:
    """The leaf hashes that a fact contains."""
    joins = fact.get("joins") if fact["type"] == "attached" else None
    return [each for each in (fact["previous"], joins and joins["hash"]) if each]


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _is_join(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) != {"number", "hash"}:
        return False
    number = value["number"]
    return isinstance(number, int) and not isinstance(number, bool) and _is_hash(value["hash"])
