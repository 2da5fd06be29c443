from __future__ import annotations

import pytest

from app.iovox.codes import UNKNOWN_FAULT, Fault, fault_of, reason_words

FAULTS = [
    ("API Version Empty", "api-version-empty", None),
    ("API Version Invalid", "api-version-invalid", None),
    ("Request Method must be POST. GET attempted", "method-not-post", None),
    ("XML Empty", "xml-empty", None),
    ("XML parse error. not well-formed at line 3, column 7", "xml-parse-error", None),
    ("Request Empty", "request-empty", None),
    ("Origin Empty", "origin-empty", "origin"),
    ("Origin Invalid: a\nb", "origin-invalid", "origin"),
    ("Destination Empty", "destination-empty", "destination"),
    ("Destination Invalid: abc", "destination-invalid", "destination"),
    ("Message Empty", "message-empty", "message"),
    ("Message must be less than 160 characters long", "message-too-long", "message"),
    ("HTTP 401: Unauthorized", "unauthorized", None),
    ("Internal Server Error", "internal-server-error", None),
    (" origin empty. ", "origin-empty", "origin"),
]


@pytest.mark.parametrize(("text", "code", "field"), FAULTS, ids=[c[1] for c in FAULTS])
def test_documented_error_texts_name_their_field(text: str, code: str, field: str | None) -> None:
    assert fault_of(text) == Fault(code, field)


@pytest.mark.parametrize(
    "text", ["", "Origin Emptyish", "No Destination Empty", "Credit Exhausted"]
)
def test_any_other_text_is_unknown(text: str) -> None:
    assert fault_of(text) is UNKNOWN_FAULT


REASONS = [
    ("1", "delivery success"),
    ("2", "delivery failure"),
    ("4", "message buffered"),
    (" 8 ", "smsc submit"),
    ("16", "smsc reject"),
    ("32", "smsc intermediate"),
    ("3", None),
    ("", None),
    ("x", None),
    (None, None),
]


@pytest.mark.parametrize(("number", "words"), REASONS)
def test_reason_words(number: str | None, words: str | None) -> None:
    assert reason_words(number) == words
