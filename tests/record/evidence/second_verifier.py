"""A verifier that shares nothing with ours: hashlib, json and cryptography, after docs/evidence.md.

It raises AssertionError or what the libraries raise; time stamps (step 8) are left to ``openssl``.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

COMMON = {"v", "type", "log", "nonce", "number", "previous"}
NAMES = {
    "recorded": "message app at origin expiry c2c_failover_link_id send_at resend_of destination "
    "text reference",
    "step": "message status at reasons",
    "attached": "message sms_activity_id at joins",
    "receipt": "message sms_activity_id receipt received_at status at time_quality body",
}
COMMITMENTS = {
    "recorded": ("destination", "text", "reference", "c2c_failover_link_id"),
    "step": ("reasons",),
    "receipt": ("body",),
}


def canonical(value: Any) -> bytes:
    """RFC 8785 of what a document has: no fractions, names in ASCII."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def h(*parts: bytes) -> bytes:
    return sha256(b"".join(parts)).digest()


def read(data: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    def refuse(_text: str) -> None:
        raise AssertionError("a fraction")

    found = json.loads(data, object_pairs_hook=once, parse_float=refuse, parse_constant=refuse)
    assert canonical(found) == data
    assert isinstance(found, dict)
    return found


def split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


def from_leaf(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root to which an inclusion proof leads."""
    assert 0 <= index < size
    if size == 1:
        assert not proof
        return leaf
    k = split(size)
    if index < k:
        return h(b"\x01", from_leaf(index, k, leaf, proof[:-1]), proof[-1])
    return h(b"\x01", proof[-1], from_leaf(index - k, size - k, leaf, proof[:-1]))


def from_old(
    m: int, n: int, proof: Sequence[bytes], old: bytes, *, whole: bool = True
) -> tuple[bytes, bytes]:
    """The two roots to which a consistency proof leads."""
    assert 0 < m <= n
    if m == n:
        assert len(proof) == (0 if whole else 1)
        return (old, old) if whole else (proof[0], proof[0])
    k = split(n)
    if m <= k:
        first, second = from_old(m, k, proof[:-1], old, whole=whole)
        return first, h(b"\x01", second, proof[-1])
    first, second = from_old(m - k, n - k, proof[:-1], old, whole=False)
    return h(b"\x01", proof[-1], first), h(b"\x01", proof[-1], second)


def open_note(note: str, keys: Sequence[str]) -> tuple[str, int, bytes]:
    text, signatures = note.rsplit("\n\n", 1)
    origin, size, root, *_ = text.split("\n")
    signed = f"{text}\n".encode()
    good = False
    for line in signatures.rstrip("\n").split("\n"):
        dash, name, value = line.split(" ")
        assert dash == "\u2014"
        raw = base64.b64decode(value, validate=True)
        assert base64.b64encode(raw).decode() == value
        for key in keys:
            own, id_, encoded = key.split("+", 2)
            public = base64.b64decode(encoded, validate=True)
            assert public[0] == 1
            assert h(own.encode(), b"\n", public)[:4].hex() == id_
            continued = origin == own or origin.startswith(f"{own}/")
            id_here = h(origin.encode(), b"\n", public)[:4]
            if continued and name == origin and raw[:4] == id_here:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw[4:], signed)
                good = True
    assert good, "no signature of a known key"
    assert str(int(size)) == size
    found = base64.b64decode(root, validate=True)
    assert base64.b64encode(found).decode() == root
    return origin, int(size), found


def verify(
    data: bytes, *, keys: Sequence[str] | None = None, checkpoint: str | None = None
) -> None:
    """Raise unless the document holds."""
    document = read(data)
    assert set(document) == {"version", "facts", "logs", "digest"}
    assert document["version"] == 1
    assert document["version"] is not True
    digest = document.pop("digest")
    assert h(canonical(document)).hex() == digest

    logs: dict[str, tuple[int, bytes]] = {}
    consistency: dict[str, Any] = {}
    for log in document["logs"]:
        assert set(log) == {"origin", "checkpoint", "keys", "stamp", "consistency"}
        origin, size, root = open_note(log["checkpoint"], keys or log["keys"])
        for key in log["keys"]:
            own, id_, encoded = key.split("+", 2)
            raw = base64.b64decode(encoded, validate=True)
            assert h(own.encode(), b"\n", raw)[:4].hex() == id_
        assert origin == log["origin"]
        assert origin not in logs
        logs[origin] = (size, root)
        consistency[origin] = log["consistency"]

    _verify_facts(document["facts"], logs)
    if checkpoint is not None:
        known = keys or [key for log in document["logs"] for key in log["keys"]]
        origin, size, root = open_note(checkpoint, known)
        later, later_root = logs[origin]
        if size == later:
            assert root == later_root
        else:
            assert consistency[origin]["from"] == size
            proof = [bytes.fromhex(each) for each in consistency[origin]["proof"]]
            assert from_old(size, later, proof, root) == (root, later_root)


def _verify_facts(entries: list[dict[str, Any]], logs: dict[str, tuple[int, bytes]]) -> None:
    assert entries
    chains: dict[str | None, list[tuple[dict[str, Any], bytes, dict[str, Any]]]] = {}
    for entry in entries:
        assert set(entry) == {"fact", "index", "proof", "opened"}
        fact = entry["fact"]
        kind = fact["type"]
        assert set(fact) >= COMMON | {"message"}
        assert fact["v"] == 1
        if kind in NAMES:
            assert set(fact) == COMMON | set(NAMES[kind].split())
        chains.setdefault(fact["message"], []).append((fact, h(b"\0", canonical(fact)), entry))
        _verify_openings(fact, entry["opened"])
    other = chains.pop(None, [])
    assert len(chains) <= 1
    own = next(iter(chains.values()), [])
    assert [id(e) for e in entries] == [id(e) for _, _, e in [*other, *own]]
    for chain in (other, own):
        _verify_chain(chain, list(logs))
    joins = [fact["joins"] for fact, _, _ in own if fact["type"] == "attached"]
    assert len(joins) <= 1
    if own:
        assert own[0][0]["type"] == "recorded"
        expected = {"number": len(other), "hash": other[-1][1].hex()} if other else None
        assert (joins[0] if joins else None) == expected
    names = {fact["sms_activity_id"] for fact, _, _ in [*other, *own] if "sms_activity_id" in fact}
    assert len(names) <= 1
    covered: set[str] = set()
    for fact, leaf, entry in reversed([*other, *own]):
        if entry["proof"] is not None:
            size, root = logs[fact["log"]]
            proof = [bytes.fromhex(each) for each in entry["proof"]]
            assert from_leaf(entry["index"], size, leaf, proof) == root
        else:
            assert leaf.hex() in covered
        covered |= {fact["previous"], (fact.get("joins") or {}).get("hash")} - {None}


def _verify_chain(
    chain: list[tuple[dict[str, Any], bytes, dict[str, Any]]], logs: list[str]
) -> None:
    before: tuple[dict[str, Any], bytes, dict[str, Any]] | None = None
    for number, (fact, leaf, entry) in enumerate(chain, start=1):
        assert fact["number"] == number
        assert fact["previous"] == (before[1].hex() if before else None)
        if before and before[0]["log"] == fact["log"]:
            assert before[2]["index"] < entry["index"]
        elif before and {before[0]["log"], fact["log"]} <= set(logs):
            assert logs.index(before[0]["log"]) < logs.index(fact["log"])
        before = (fact, leaf, entry)


def _verify_openings(fact: dict[str, Any], opened: dict[str, Any]) -> None:
    names = COMMITMENTS.get(fact["type"], ())
    assert set(opened) == {name for name in names if fact[name] is not None}
    for name, opening in opened.items():
        if opening is None:
            continue
        if set(opening) == {"salt", "text"}:
            value = opening["text"].encode()
        else:
            assert set(opening) == {"salt", "base64"}
            value = base64.b64decode(opening["base64"], validate=True)
            assert base64.b64encode(value).decode() == opening["base64"]
        assert len(opening["salt"]) == 64
        assert h(bytes.fromhex(opening["salt"]), value).hex() == fact[name]
