"""RFC 3161 time stamps of checkpoints: requests for them, and their verification.

Every stamp is untrusted, whether it comes from a document or from an authority.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.x509 import (
    Certificate,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)
from rfc3161_client import (
    HashAlgorithm,
    TimestampRequestBuilder,
    TimeStampResponse,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.verify import SHA256_OID

LARGEST = 64 * 1024
"""Bytes of a stamp; larger ones are refused. They have a few thousand."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time of a stamp, and the name of the authority (the subject of its certificate)."""

    at: datetime
    authority: str


def request_for(text: bytes) -> bytes:
    """A TimeStampReq (DER) for a text, which asks for the authority's certificate too."""
    builder = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256)
    return builder.cert_request(cert_request=True).nonce(nonce=False).build().as_bytes()


def read_stamp(encoded: str, text: bytes, *, trusted: bytes | None = None) -> Stamp:
    """``check_stamp`` of a stamp in base64. Raises ValueError that says what is wrong."""
    try:
        der = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    return check_stamp(der, text, trusted=trusted)


def check_stamp(der: bytes, text: bytes, *, trusted: bytes | None = None) -> Stamp:
    """Check that a TimeStampResp (DER) is of this text, and, with ``trusted`` (PEM certificates),
    its signature and the chain to one of them. Without them the signature is not verified: a stamp
    need not contain its authority's root. Raises ValueError that says what is wrong.
    """
    if len(der) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} bytes")
    try:
        return _check(der, text, trusted)
    except Exception as error:  # noqa: BLE001  the libraries raise many kinds for odd bytes
        raise ValueError((str(error) or type(error).__name__).splitlines()[0][:200]) from None


def _check(der: bytes, text: bytes, trusted: bytes | None) -> Stamp:
    response = decode_timestamp_response(der)
    if response.status not in (0, 1):
        raise ValueError("the authority refused it")
    imprint = response.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != SHA256_OID:
        raise ValueError("its hash is not SHA-256")
    digest = sha256(text).digest()
    if imprint.message != digest:
        raise ValueError("it is of something else")
    own = [load_der_x509_certificate(each) for each in response.signed_data.certificates]
    if trusted is not None:
        _verify(response, load_pem_x509_certificates(trusted), digest)
    at = response.tst_info.gen_time
    return Stamp(at if at.tzinfo else at.replace(tzinfo=UTC), _name(own))


def _verify(response: TimeStampResponse, roots: list[Certificate], digest: bytes) -> None:
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    builder.build().verify(response, digest)


def _name(certificates: list[Certificate]) -> str:
    """The subject of the signer's certificate: the one that issued none of the others."""
    if not certificates:
        return "an authority whose certificate is not in it"
    issuers = {each.issuer for each in certificates if each.issuer != each.subject}
    signer = next((each for each in certificates if each.subject not in issuers), certificates[0])
    return signer.subject.rfc4514_string()[:200]
