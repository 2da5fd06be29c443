"""Signed notes (C2SP signed-note): a text, and Ed25519 signatures of named keys below it. Pure.

Notes are untrusted: nothing of one is used before the signature of a known key is verified.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 1
COSIGNATURE = 4
"""Types of keys: ED25519 of a log's own signatures, COSIGNATURE of a witness's
(C2SP tlog-cosignature)."""
MAX_NOTE = 64 * 1024
"""Characters of a note; longer ones are refused. Ours have a few hundred."""

_PRIVATE = "PRIVATE+KEY+"
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_NAME = re.compile(r"[^\s+]+")
_SEED_SIZE = 32
_COSIGNED = "cosignature/v1\ntime {}\n{}"
_TIME_SIZE = 8


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and its name. ``str`` of it is what ``parse`` reads."""

    name: str
    type: int
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Parse ``name+hash+key``. Raises ValueError that says what is wrong."""
        name, hash_, key = _parts(text.strip(), "a verifier key")
        found = cls(name, key[0], key[1:])
        if key[0] not in (ED25519, COSIGNATURE) or len(key) != 1 + _SEED_SIZE:
            raise ValueError("it is not an Ed25519 key")
        if found.id.hex() != hash_:
            raise ValueError("its hash is not that of its name and key: it was mistyped or altered")
        return found

    @property
    def is_witness(self) -> bool:
        """Whether it co-signs the checkpoints of others (tlog-cosignature)."""
        return self.type == COSIGNATURE

    @property
    def id(self) -> bytes:
        """The key id: the first 4 bytes of a hash of name, type and key (C2SP signed-note)."""
        named = self.name.encode() + b"\n" + bytes((self.type,)) + self.public
        return sha256(named).digest()[:4]

    def __str__(self) -> str:
        key = base64.b64encode(bytes((self.type,)) + self.public).decode()
        return f"{self.name}+{self.id.hex()}+{key}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether a signature of the text is this key's; a witness's begins with its time."""
        signed = text
        if self.type == COSIGNATURE:
            at, signature = signature[:_TIME_SIZE], signature[_TIME_SIZE:]
            signed = _COSIGNED.format(int.from_bytes(at, "big"), text)
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, signed.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key. Its ``repr`` shows its name alone."""

    name: str
    seed: bytes

    @classmethod
    def generate(cls, name: str) -> SigningKey:
        """A new key. Raises ValueError for a name with white space or a plus, or an empty one."""
        if not _NAME.fullmatch(name):
            raise ValueError("the name of a key has no white space and no +")
        return cls(name, Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """Parse what ``private_text`` returns. Raises ValueError, which does not quote the key."""
        text = text.strip()
        if not text.startswith(_PRIVATE):
            raise ValueError(f"a signing key begins with {_PRIVATE}")
        name, hash_, key = _parts(text.removeprefix(_PRIVATE), "a signing key")
        if key[0] != ED25519 or len(key) != 1 + _SEED_SIZE:
            raise ValueError("it is not an Ed25519 key")
        found = cls(name, key[1:])
        if found.verifier.id.hex() != hash_:
            raise ValueError("its hash is not that of its name and key: it was mistyped or altered")
        return found

    @property
    def verifier(self) -> VerifierKey:
        """The public key."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return VerifierKey(self.name, ED25519, public.public_bytes_raw())

    def private_text(self) -> str:
        """The private key as text, for a file that its owner alone may read."""
        key = base64.b64encode(bytes((ED25519,)) + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{key}"

    def signature(self, text: str) -> str:
        """The signature line for a text."""
        signed = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return f"— {self.name} {base64.b64encode(self.verifier.id + signed).decode()}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.name})"


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified signature line. ``at``: the time of a co-signature, in seconds since 1970; None
    for a log's own signature.
    """

    key: VerifierKey
    line: str
    at: int | None


@dataclass(frozen=True, slots=True)
class OpenNote:
    """A note's text, and its verified signatures in their order."""

    text: str
    signatures: tuple[Signed, ...]

    @property
    def signers(self) -> tuple[VerifierKey, ...]:
        """The keys of the verified signatures."""
        return tuple(each.key for each in self.signatures)


def sign(text: str, keys: Iterable[SigningKey]) -> str:
    """Make a signed note. Raises ValueError for a text that does not end in a line break."""
    if not text.endswith("\n"):
        raise ValueError("the text of a note ends in a line break")
    return text + "\n" + "".join(key.signature(text) for key in keys)


def open_note(note: str, known: Iterable[VerifierKey]) -> OpenNote:
    """Verify a note's signatures by the ``known`` keys; those of other keys are passed over.

    Raises ValueError that says what is wrong: it is no note, it has no signature of a known key, or
    one in a known key's name does not verify.
    """
    if len(note) > MAX_NOTE:
        raise ValueError(f"it has more than {MAX_NOTE} characters")
    text, blank, lines = note.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise ValueError("it is no signed note: a text, an empty line and signatures are missing")
    text += "\n"
    by_id = {(key.name, key.id): key for key in known}
    signatures = []
    for line in lines.removesuffix("\n").split("\n"):
        match = _SIGNATURE.fullmatch(line)
        if match is None:
            raise ValueError("a line below its text is no signature")
        signature = _decoded(match[2])
        key = by_id.get((match[1], signature[:4]))
        if key is None:
            continue
        if not key.verifies(text, signature[4:]):
            raise ValueError(f"the signature of {key.name} is not of this text")
        at = int.from_bytes(signature[4 : 4 + _TIME_SIZE], "big") if key.is_witness else None
        signatures.append(Signed(key, line, at))
    if not signatures:
        raise ValueError("none of its signatures is by a known key")
    return OpenNote(text, tuple(signatures))


def _parts(text: str, what: str) -> tuple[str, str, bytes]:
    parts = text.split("+", 2)
    if len(parts) != 3 or not _NAME.fullmatch(parts[0]):
        raise ValueError(f"{what} is written name+hash+key")
    return parts[0], parts[1], _decoded(parts[2])


def _decoded(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        found = b""
    if not found or base64.b64encode(found).decode() != text:
        raise ValueError("a part of it is not base64")
    return found
