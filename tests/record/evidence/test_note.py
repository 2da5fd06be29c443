"""Signed notes and checkpoints: against the keys and notes of Go's implementation, and damaged."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.record.evidence.checkpoint import Checkpoint, open_checkpoint, parse_checkpoint
from app.record.evidence.merkle import leaf_hash
from app.record.evidence.note import COSIGNATURE, SigningKey, VerifierKey, open_note, sign

# The example of golang.org/x/mod/sumdb/note, and the key of Go's checksum database.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PETERS_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETERS_NOTE = (
    f"{PETERS_TEXT}\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZ"
    "SNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
GO = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"

KEY = SigningKey.generate("example.com/log")
CHECKPOINT = Checkpoint("example.com/log", 12, leaf_hash(b"a"))


def test_gos_example_is_read_and_made() -> None:
    key = SigningKey.parse(PETERS_SECRET)
    assert str(key.verifier) == PETER
    assert key.private_text() == PETERS_SECRET
    assert sign(PETERS_TEXT, [key]) == PETERS_NOTE
    opened = open_note(PETERS_NOTE, [VerifierKey.parse(GO), VerifierKey.parse(PETER)])
    assert (opened.text, opened.signers) == (PETERS_TEXT, (VerifierKey.parse(PETER),))


@pytest.mark.parametrize("text", [PETER, GO, f"  {PETER}\n"])
def test_a_verifier_key_is_read_and_written(text: str) -> None:
    assert str(VerifierKey.parse(text)) == text.strip()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "written"),
        ("PeterNeumann", "written"),
        (PETER.replace("c74f20a3", "c74f20a4"), "mistyped"),
        (PETER.replace("Peter", "Petra"), "mistyped"),
        (PETER[:-1], "base64"),
        (PETER.replace("+ARpc", "+BRpc"), "Ed25519"),
        (f"{PETER[:-4]}", "Ed25519"),
        ("two words+c74f20a3+AR==", "written"),
    ],
)
def test_a_wrong_verifier_key_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        VerifierKey.parse(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PETER, "begins with"),
        (PETERS_SECRET.replace("c74f20a3", "c74f20a4"), "mistyped"),
        (PETERS_SECRET[:-4], "Ed25519"),
    ],
)
def test_a_wrong_signing_key_is_refused_without_showing_it(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as raised:
        SigningKey.parse(text)
    assert "AYEKFALVFGyNhPJEMzD1QIDr" not in str(raised.value)
    assert repr(SigningKey.parse(PETERS_SECRET)) == "SigningKey(PeterNeumann)"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_name_that_no_key_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="white space"):
        SigningKey.generate(name)


def test_two_keys_sign_while_one_replaces_the_other() -> None:
    old, new = SigningKey.generate("log"), SigningKey.generate("log")
    note = sign("text\n", [old, new])
    for key in (old, new):
        assert open_note(note, [key.verifier]).signers == (key.verifier,)
    assert len(open_note(note, [new.verifier, old.verifier]).signers) == 2


def test_every_byte_of_a_note_counts() -> None:
    note = sign(CHECKPOINT.text, [KEY])
    for place in range(len(note)):
        for other in ("A", "\n", "="):
            altered = note[:place] + other + note[place + 1 :]
            if altered != note:
                with pytest.raises(ValueError, match=r"\w"):
                    open_note(altered, [KEY.verifier])
    for length in range(len(note)):
        with pytest.raises(ValueError, match=r"\w"):
            open_note(note[:length], [KEY.verifier])


def test_a_note_of_others_alone_is_refused() -> None:
    note = sign(CHECKPOINT.text, [SigningKey.generate("example.com/log")])
    with pytest.raises(ValueError, match="known key"):
        open_note(note, [KEY.verifier])
    with pytest.raises(ValueError, match="known key"):
        open_note(note, [])


def test_a_note_that_is_too_long_is_not_read() -> None:
    with pytest.raises(ValueError, match="characters"):
        open_note(PETERS_NOTE + PETERS_NOTE * 1_000, [VerifierKey.parse(PETER)])


def test_a_text_without_a_last_line_break_is_not_signed() -> None:
    with pytest.raises(ValueError, match="line break"):
        sign("text", [KEY])


def test_a_witness_signs_with_its_time() -> None:
    secret = Ed25519PrivateKey.generate()
    witness = VerifierKey("witness", COSIGNATURE, secret.public_key().public_bytes_raw())
    signed = secret.sign(f"cosignature/v1\ntime 1700000000\n{CHECKPOINT.text}".encode())
    at = (1_700_000_000).to_bytes(8, "big")
    line = base64.b64encode(witness.id + at + signed).decode()
    note = sign(CHECKPOINT.text, [KEY]) + f"— witness {line}\n"
    assert VerifierKey.parse(str(witness)) == witness
    assert open_note(note, [witness, KEY.verifier]).signers == (KEY.verifier, witness)
    assert open_checkpoint(note, [KEY.verifier]) == CHECKPOINT
    with pytest.raises(ValueError, match="not signed by the log"):
        open_checkpoint(note, [witness])


@pytest.mark.parametrize("extensions", [(), ("a", "b c")])
def test_a_checkpoint_is_written_and_read(extensions: tuple[str, ...]) -> None:
    checkpoint = Checkpoint("example.com/log", 12, leaf_hash(b"a"), extensions)
    assert parse_checkpoint(checkpoint.text) == checkpoint
    assert checkpoint.text.startswith("example.com/log\n12\n")
    assert open_checkpoint(sign(checkpoint.text, [KEY]), [KEY.verifier]) == checkpoint


ROOT = base64.b64encode(leaf_hash(b"a")).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a line each"),
        ("log\n12\n", "a line each"),
        (f"log\n12\n{ROOT}", "a line each"),
        (f"\n12\n{ROOT}\n", "empty"),
        (f"log\n12\n{ROOT}\n\n", "empty"),
        (f"log\n012\n{ROOT}\n", "decimal"),
        (f"log\n-1\n{ROOT}\n", "decimal"),
        (f"log\n１\n{ROOT}\n", "decimal"),  # noqa: RUF001  a full-width digit
        (f"log\n12\n{ROOT[:-2]}\n", "32 bytes"),
        (f"log\n12\n{ROOT[:-4]}\n", "32 bytes"),
    ],
)
def test_a_wrong_checkpoint_is_refused_with_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_checkpoint(text)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = Checkpoint("example.com/other", 12, leaf_hash(b"a"))
    with pytest.raises(ValueError, match="itself"):
        open_checkpoint(sign(other.text, [KEY]), [KEY.verifier])
