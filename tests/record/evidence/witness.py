"""A witness by C2SP tlog-cosignature, made from that page alone."""

from __future__ import annotations

import base64
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Witness:
    def __init__(self, name: str = "witness.example/w1") -> None:
        self.name = name
        self._key = Ed25519PrivateKey.generate()
        public = b"\x04" + self._key.public_key().public_bytes_raw()
        self._id = sha256(name.encode() + b"\n" + public).digest()[:4]
        self.verifier = f"{name}+{self._id.hex()}+{base64.b64encode(public).decode()}"

    def line(self, note: str, *, at: int = 1_800_000_000) -> str:
        """Its line below the text of a note."""
        text = note.partition("\n\n")[0] + "\n"
        signed = self._key.sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        value = self._id + at.to_bytes(8, "big") + signed
        return f"— {self.name} {base64.b64encode(value).decode()}\n"
