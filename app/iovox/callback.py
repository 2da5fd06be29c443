"""The callback headers: sent to iovox with every message, verified on every receipt.

The setting comes from the operator and is validated once, at the start. The receipts come from the
open internet: nothing in a request is trusted before ``verify`` returns True. Errors and reprs give
the position of a header and never its text, because a secret with a comma in it would otherwise be
quoted as the name of the next header.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

MESSAGE_ID_HEADER = b"x-message-id"

_SETTING = "DLR_CALLBACK_URL_HEADERS"
_EXAMPLE = "Content-Type: application/json,X-Custom-Header: <secret>"
_CONTENT_TYPE = "content-type"
_JSON = "Content-Type: application/json"
_OWN = MESSAGE_ID_HEADER.decode()
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# iovox documents no escaping, so a value cannot contain a comma. Spaces are allowed inside (a
# Content-Type with a charset), but not around a value, where HTTP strips them.
_VALUE = re.compile(r"[!-+\--~](?:[ -+\--~]*[!-+\--~])?")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CallbackHeaders:
    """The headers that iovox is asked to send, and the secrets that authenticate a receipt.

    ``secrets`` has the current secret first, then the previous ones: receipts of messages sent
    before a rotation carry those.
    """

    text: str
    auth_header: bytes
    secrets: tuple[bytes, ...]

    @classmethod
    def parse(
        cls, headers: str, *, auth_header: str | None, previous_secrets: Sequence[str]
    ) -> CallbackHeaders:
        """Parse DLR_CALLBACK_URL_HEADERS, in iovox's notation (``Name: value,Name: value``).

        ``auth_header`` names the header with the secret; None if there is only one candidate.
        Raises ValueError with a sentence for the operator.
        """
        pairs = _pairs(headers)
        name = _auth_name(pairs, auth_header)
        written = [f"{name}: {value}" for name, value in pairs]
        if all(name.lower() != _CONTENT_TYPE for name, _ in pairs):
            written.insert(0, _JSON)
        current = next(value for header, value in pairs if header.lower() == name)
        return cls(
            text=",".join(written),
            auth_header=name.encode(),
            secrets=(current.encode(), *_previous(previous_secrets)),
        )

    def for_message(self, message_id: UUID | None) -> str:
        """The value of ``callback_url_headers`` in the request for this message."""
        return self.text if message_id is None else f"{self.text},X-Message-Id: {message_id}"

    def verify(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether raw ASGI headers (lower-case names) carry a valid secret.

        Constant time: every secret is compared, also after a match.
        """
        wanted = self.auth_header
        known = False
        for name, value in headers:
            if name == wanted:
                offered = value.strip(b" \t")
                for secret in self.secrets:
                    known |= hmac.compare_digest(offered, secret)
        return known

    @property
    def shortest(self) -> int:
        """How many characters the shortest secret has."""
        return min(len(secret) for secret in self.secrets)

    def marks(self, salt: str) -> list[str]:
        """Fingerprints of the secrets, which processes publish to compare their configurations.

        24 bits of a salted digest: too few to confirm a guessed secret by.
        """
        return [sha256(salt.encode() + secret).hexdigest()[:6] for secret in self.secrets]

    def redact(self, text: str) -> str:
        """``text`` without the secrets: iovox may quote invalid headers in its errors."""
        for secret in self.secrets:
            text = text.replace(secret.decode(), "[secret]")
        return text

    def __repr__(self) -> str:
        return f"CallbackHeaders({self.auth_header.decode()}, {len(self.secrets)} secrets)"


def _pairs(headers: str) -> list[tuple[str, str]]:
    if not headers.strip():
        raise ValueError(f"{_SETTING} is empty: write it as `{_EXAMPLE}`.")
    pairs: list[tuple[str, str]] = []
    for position, written in enumerate(headers.split(","), start=1):
        pair = _pair(written, f"Pair {position} of {_SETTING}")
        if pair[0].lower() in (name.lower() for name, _ in pairs):
            raise ValueError(f"Pair {position} of {_SETTING} names a header a second time.")
        pairs.append(pair)
    return pairs


def _pair(written: str, where: str) -> tuple[str, str]:
    name, colon, value = written.partition(":")
    if not colon:
        raise ValueError(
            f"{where} has no `:`; pairs are `Name: value`, and a value cannot contain a comma."
        )
    name, value = name.strip(" \t"), value.strip(" \t")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"{where} has a name that HTTP does not allow.")
    if name.lower() == _OWN:
        raise ValueError(f"{where} is X-Message-Id, which the service adds itself: leave it out.")
    _check_value(value, where)
    return name, value


def _check_value(value: str, where: str) -> None:
    if not value:
        raise ValueError(f"{where} has an empty value.")
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"{where} has a value with a comma, a line break or a character outside visible ASCII."
        )


def _auth_name(pairs: list[tuple[str, str]], auth_header: str | None) -> str:
    """The lower-case name of the header with the secret."""
    candidates = [name.lower() for name, _ in pairs if name.lower() != _CONTENT_TYPE]
    if not candidates:
        raise ValueError(
            f"{_SETTING} needs a header with a secret besides Content-Type, as in `{_EXAMPLE}`."
        )
    if auth_header:
        wanted = auth_header.strip().lower()
        if wanted not in candidates:
            raise ValueError(
                f"DLR_CALLBACK_AUTH_HEADER names none of the headers of {_SETTING} "
                "besides Content-Type."
            )
        return wanted
    if len(candidates) > 1:
        raise ValueError(
            f"{_SETTING} has several headers besides Content-Type: "
            "DLR_CALLBACK_AUTH_HEADER must name the one with the secret."
        )
    return candidates[0]


def _previous(secrets: Sequence[str]) -> list[bytes]:
    previous = []
    for position, written in enumerate(secrets, start=1):
        secret = written.strip(" \t")
        _check_value(secret, f"Secret {position} of DLR_CALLBACK_PREVIOUS_SECRETS")
        previous.append(secret.encode())
    return previous
