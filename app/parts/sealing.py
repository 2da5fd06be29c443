"""Encryption at rest, with the operator's keys. Generic.

Fernet (AES-128-CBC and HMAC-SHA256, with a time stamp), by the library `cryptography`. The first
key encrypts, each of them decrypts, so a key can be rotated while the service runs. Plain text that
was stored before there was a key stays readable: encrypted text is recognised by its prefix.
"""

from __future__ import annotations

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

SEALED = "fernet:"
"""The prefix of an encrypted text."""


class CannotOpen(ValueError):
    """The text was encrypted with a key that is not configured, or it was changed since."""


class Sealer:
    """Encrypts and decrypts. Without keys plain text is passed on, and no sealed one is opened."""

    def __init__(self, keys: str = "") -> None:
        """``keys``: see ``use``. Raises ValueError."""
        self.use(keys)

    def __repr__(self) -> str:
        return f"Sealer({'on' if self.is_on else 'off'})"

    def use(self, keys: str) -> None:
        """Use these keys, separated by commas. Raises ValueError, which quotes none of them."""
        fernets = [_fernet(key.strip(), n) for n, key in enumerate(keys.split(","), 1) if key]
        self._fernet = MultiFernet(fernets) if fernets else None

    @property
    def is_on(self) -> bool:
        """Whether there is a key."""
        return self._fernet is not None

    def seal(self, text: str) -> str:
        """The text, encrypted where there is a key."""
        return (
            text if self._fernet is None else SEALED + self._fernet.encrypt(text.encode()).decode()
        )

    def open(self, text: str) -> str:
        """What ``seal`` was given. Raises CannotOpen."""
        if not text.startswith(SEALED):
            return text
        if self._fernet is None:
            raise CannotOpen("it is encrypted, and there is no key")
        try:
            return self._fernet.decrypt(text.removeprefix(SEALED)).decode()
        except InvalidToken:
            raise CannotOpen("none of the keys decrypts it") from None


def new_key() -> str:
    """A new key, as ``Sealer`` takes it."""
    return Fernet.generate_key().decode()


def _fernet(key: str, position: int) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise ValueError(
            f"key {position} is not a valid key: `dlr secrets key` prints one "
            "(32 bytes in URL-safe base64)"
        ) from None
