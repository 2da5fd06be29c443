"""Everything that may be wrong with the evidence of a message is found, by two verifiers."""

from __future__ import annotations

import base64
import copy
import json
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from app.record.evidence.chains import COMMON, FIELDS
from app.record.evidence.checkpoint import Checkpoint
from app.record.evidence.document import encode_document
from app.record.evidence.form import canonical, canonical_text, commitment, receipt_text
from app.record.evidence.merkle import inclusion_proof, leaf_hash, root_hash
from app.record.evidence.note import SigningKey, VerifierKey, sign
from app.record.evidence.tiles import Tiles
from app.record.evidence.verifying import verify
from tests.record.evidence import second_verifier
from tests.support.process import PROJECT

DOCS = PROJECT / "docs"
EXAMPLE = (DOCS / "evidence-example.json").read_bytes()
PAGE = (DOCS / "evidence.md").read_text()
[KEY] = re.findall(r"^    (sms\.example\.com/log\+\S+)$", PAGE, re.MULTILINE)
[EARLIER] = re.findall(r"^```\n(sms\.example\.com/log\n.*?\n)```$", PAGE, re.MULTILINE | re.DOTALL)
KEYS = [VerifierKey.parse(KEY)]
OURS = SigningKey.generate("sms.example.com/log")

Json = dict[str, Any]


def faults(data: bytes, **how: Any) -> list[str]:
    return verify(data, keys=how.pop("keys", KEYS), **how).faults


def second_finds(data: bytes, keys: list[str] | None = None, checkpoint: str | None = None) -> bool:
    try:
        second_verifier.verify(data, keys=keys or [KEY], checkpoint=checkpoint)
    except Exception:  # noqa: BLE001  whatever its libraries raise
        return True
    return False


def changed(change: Callable[[Json], object]) -> bytes:
    """The example after a change, with a digest that is right again."""
    document = json.loads(EXAMPLE)
    change(document)
    document.pop("digest")
    return encode_document(document)


def test_the_example_verifies_by_both() -> None:
    report = verify(EXAMPLE, keys=KEYS, checkpoint=EARLIER)
    assert report.faults == []
    assert report.is_verified
    second_verifier.verify(EXAMPLE, keys=[KEY], checkpoint=EARLIER)


def test_it_says_so_where_no_key_was_given() -> None:
    report = verify(EXAMPLE)
    assert report.is_verified
    assert any("No key was given" in note for note in report.notes)


def test_the_vectors_of_the_page() -> None:
    fact = json.loads(EXAMPLE)["facts"][1]["fact"]
    assert f"\n{canonical(fact)}\n{leaf_hash(canonical(fact).encode()).hex()}\n" in PAGE
    commitment = second_verifier.h(b"\x01" * 32, b"Hello there").hex()
    assert commitment in PAGE
    tree = Tiles({})
    tree.append(0, b"".join(leaf_hash(text) for text in (b"a", b"b", b"c")))
    assert root_hash(3, tree.node).hex() in PAGE


def test_one_byte_changed_anywhere_is_found() -> None:
    chance = random.Random(7)
    for place in range(chance.randrange(3), len(EXAMPLE), 3):
        data = bytearray(EXAMPLE)
        data[place] ^= 1 << chance.randrange(8)
        assert faults(bytes(data)), place
        if place % 5 == 0:
            assert second_finds(bytes(data)), place


@pytest.mark.parametrize("data", [EXAMPLE + b"\n", b" " + EXAMPLE, EXAMPLE[:-1], b"", b"{}", b"[]"])
def test_a_byte_more_or_less_is_found(data: bytes) -> None:
    assert faults(data)
    assert second_finds(data)


def _fact(place: int, name: str, value: object) -> Callable[[Json], object]:
    return lambda document: document["facts"][place]["fact"].__setitem__(name, value)


def _swap(document: Json) -> None:
    facts = document["facts"]
    facts[-1], facts[-2] = facts[-2], facts[-1]


CHANGES: dict[str, tuple[Callable[[Json], object], str]] = {
    "a status": (_fact(-1, "status", "FAILED"), r"Fact \d \(receipt\) is not leaf"),
    "the app": (_fact(1, "app", "another"), r"Fact 2 \(recorded\) is not leaf"),
    "a time": (_fact(-1, "at", "2020-05-06T11:00:00.000000Z"), "is not leaf"),
    "a fact left out": (
        lambda document: document["facts"].pop(-2),
        r"1 before it are left out",
    ),
    "the first fact left out": (
        lambda document: document["facts"].pop(1),
        "1 before it are left out",
    ),
    "the receipt from before left out": (
        lambda document: document["facts"].pop(0),
        "facts that the message joins are left out",
    ),
    "facts swapped": (_swap, "left out|wrong place"),
    "a text": (
        lambda document: document["facts"][1]["opened"]["text"].update(text="Hello!"),
        r"text is not what the fact was made of",
    ),
    "a salt": (
        lambda document: document["facts"][1]["opened"]["text"].update(salt="00" * 32),
        r"text is not what the fact was made of",
    ),
    "an opening left out": (
        lambda document: document["facts"][1]["opened"].pop("text"),
        r"the opening of text is missing",
    ),
    "an opening too many": (
        lambda document: document["facts"][1]["opened"].update(app=None),
        "the opening of app stands for nothing",
    ),
    "an index": (lambda document: document["facts"][-1].update(index=0), "is not leaf 0"),
    "a proof": (
        lambda document: document["facts"][-1].update(proof=["00" * 32]),
        "it or its proof was altered",
    ),
    "the last proof left out": (
        lambda document: document["facts"][-1].update(proof=None),
        "has no proof, and no later fact covers it",
    ),
    "an origin": (lambda document: document["logs"][0].update(origin="other"), "does not hold"),
    "a log twice": (
        lambda document: document["logs"].append(copy.deepcopy(document["logs"][0])),
        "stands in it twice",
    ),
    "no log": (lambda document: document["logs"].clear(), "whose checkpoint is not there"),
    "no facts": (lambda document: document["facts"].clear(), "There is no fact"),
    "another message's fact": (
        lambda document: document["facts"].append(
            document["facts"][-1] | {"fact": document["facts"][-1]["fact"] | {"message": "another"}}
        ),
        "more than one message",
    ),
    "a name too many": (_fact(1, "extra", 1), "a field too many"),
    "the version of the document": (lambda document: document.update(version=True), "version"),
    "a version": (_fact(1, "v", 2), "is not of version 1"),
    "a stamp": (lambda document: document["logs"][0].update(stamp="AAAA"), "time stamp"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_although_the_digest_is_right(name: str) -> None:
    change, words = CHANGES[name]
    data = changed(change)
    found = faults(data)
    assert any(re.search(words, fault) for fault in found), found
    if name != "a stamp":  # left to openssl
        assert second_finds(data)


def anew(keep: Callable[[list[Json]], list[Json]], signer: SigningKey = OURS) -> bytes:
    """A log of the example's facts, as ``keep`` leaves them, with everything signed anew."""
    document = json.loads(EXAMPLE)
    entries = keep(document["facts"])
    tree = Tiles({})
    tree.append(0, b"".join(leaf_hash(canonical(entry["fact"]).encode()) for entry in entries))
    size = len(entries)
    for index, entry in enumerate(entries):
        proof = inclusion_proof(index, size, tree.node)
        entry |= {"index": index, "proof": [each.hex() for each in proof]}
    origin = "sms.example.com/log"
    text = Checkpoint(origin, size, root_hash(size, tree.node)).text
    [log] = document["logs"]
    log |= {"checkpoint": sign(text, [signer]), "keys": [str(signer.verifier)], "consistency": None}
    return encode_document({"version": 1, "facts": entries, "logs": [log]})


def renumbered(entries: list[Json]) -> list[Json]:
    """Without the last receipt but one, and chained as if it had never been."""
    entries.pop(-2)
    last = entries[-1]["fact"]
    before = entries[-2]["fact"]
    last["number"] = before["number"] + 1
    last["previous"] = leaf_hash(canonical(before).encode()).hex()
    return entries


def test_everything_signed_anew_is_good_by_itself() -> None:
    data = anew(lambda entries: entries)
    assert faults(data, keys=[OURS.verifier]) == []
    second_verifier.verify(data, keys=[str(OURS.verifier)])


def test_a_fact_left_out_is_found_although_everything_is_signed_anew() -> None:
    data = anew(lambda entries: entries[:-2] + entries[-1:])
    assert any("left out" in fault for fault in faults(data, keys=[OURS.verifier]))
    assert second_finds(data, [str(OURS.verifier)])


def test_base64_with_other_padding_bits_is_found() -> None:
    """It has the same value: a document would have more than one form."""

    def reopened(end: str) -> bytes:
        def change(document: Json) -> None:
            [opening] = (
                one["opened"]["text"] for one in document["facts"] if "text" in one["opened"]
            )
            shown = base64.b64encode(opening.pop("text").encode()).decode()
            assert shown.endswith("U=")
            opening["base64"] = shown.removesuffix("U=") + end

        return changed(change)

    assert faults(reopened("U=")) == []
    assert any("text is not what" in fault for fault in faults(reopened("V=")))
    assert second_finds(reopened("V="))


def test_a_history_made_anew_contradicts_an_earlier_checkpoint() -> None:
    """Only that can show it, so it is what one should keep."""
    whole = anew(lambda entries: entries)
    note = json.loads(whole)["logs"][0]["checkpoint"]
    data = anew(renumbered)
    keys = [OURS.verifier]
    assert faults(data, keys=keys) == []
    assert faults(data, keys=keys, checkpoint=note)
    assert second_finds(data, [str(OURS.verifier)], note)
    assert faults(whole, keys=keys, checkpoint=note) == []


def test_a_checkpoint_that_is_not_consistent_is_found() -> None:
    text = EARLIER.replace("\n4\n", "\n3\n")
    assert any("does not hold" in fault for fault in faults(EXAMPLE, checkpoint=text))
    proof = changed(
        lambda document: document["logs"][0]["consistency"].update(proof=["00" * 32, "00" * 32])
    )
    assert any("was changed" in fault for fault in faults(proof, checkpoint=EARLIER))
    assert second_finds(proof, checkpoint=EARLIER)


def test_a_checkpoint_without_its_proof_says_what_to_ask_for() -> None:
    data = changed(lambda document: document["logs"][0].update(consistency=None))
    [fault] = faults(data, checkpoint=EARLIER)
    assert "?since=4" in fault


def test_a_wrong_key_is_found() -> None:
    stranger = SigningKey.generate("sms.example.com/log").verifier
    [fault, *_] = faults(EXAMPLE, keys=[stranger])
    assert "none of its signatures is by a known key" in fault
    elsewhere = SigningKey.generate("another.example/log").verifier
    assert any("of another log" in fault for fault in faults(EXAMPLE, keys=[elsewhere]))
    assert second_finds(EXAMPLE, [str(stranger)])
    assert second_finds(EXAMPLE, [str(elsewhere)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200, deadline=None)
def test_any_bytes_get_words_and_no_traceback(data: bytes) -> None:
    assert faults(data)


PLACES = [
    ("version",), ("facts",), ("facts", 0), ("facts", 1, "fact"), ("facts", 1, "fact", "number"),
    ("facts", 1, "fact", "type"), ("facts", 1, "fact", "log"), ("facts", 1, "fact", "message"),
    ("facts", 1, "fact", "text"), ("facts", 3, "fact", "joins"),
    ("facts", 3, "fact", "sms_activity_id"), ("facts", 3, "index"),
    ("facts", 3, "proof"), ("facts", 3, "opened"),
    ("logs", 0, "checkpoint"),
    ("logs", 0, "keys"), ("logs", 0, "stamp"), ("logs", 0, "consistency"),
]  # fmt: skip


@given(st.sampled_from(PLACES), JSON)
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere_gets_words_and_no_traceback(place: tuple[Any, ...], value: Any) -> None:
    document = json.loads(EXAMPLE)
    inner = document
    for step in place[:-1]:
        inner = inner[step]
    if inner[place[-1]] == value:
        return
    inner[place[-1]] = value
    try:
        data = encode_document({name: each for name, each in document.items() if name != "digest"})
    except rfc8785.CanonicalizationError:
        data = json.dumps(document).encode()  # it has no canonical form
    # another name for what is no proof is no fault: the keys are not used, where some are given
    is_left_out = value is None and place[-1] in ("consistency", "proof")  # not needed here
    if place != ("logs", 0, "keys") and not is_left_out:
        assert faults(data)
    else:
        faults(data)


def test_deep_nesting_and_size_get_words() -> None:
    assert faults(b"[" * 1_000_000)
    assert faults(b'{"a":' * 100_000)


def test_the_page_names_a_file_that_is_there(tmp_path: Path) -> None:
    assert "`docs/evidence-example.json`" in PAGE


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(TEXTS, TEXTS, st.none() | st.uuids(), st.none() | st.binary(min_size=32, max_size=32))
@settings(max_examples=100, deadline=None)
def test_the_text_of_a_receipt_is_canonical(
    name: str, status: str, message: UUID | None, previous: bytes | None
) -> None:
    moment = datetime(2026, 11, 22, 9, tzinfo=UTC)
    text = receipt_text(
        log=canonical_text(name),
        nonce=bytes(32),
        number=3,
        previous=previous,
        message=message,
        sms_activity_id=name,
        receipt=uuid7(),
        received_at=moment,
        status=status,
        at=moment + timedelta(microseconds=5),
        time_quality="exact",
        body=None if message else f'"{commitment(bytes(32), b"body")}"',
    )
    fact = json.loads(text)
    assert rfc8785.dumps(fact).decode() == text == canonical(fact)
    assert set(fact) == COMMON | FIELDS["receipt"]
    assert fact["received_at"] == "2026-11-22T09:00:00.000000Z"
    assert (fact["status"], fact["sms_activity_id"], fact["log"]) == (status, name, name)
