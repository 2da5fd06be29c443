from __future__ import annotations

import pytest

from app.iovox.codes import field_of

FIELDS = [
    ("Origin Empty", "origin"),
    ("Origin Invalid: a\nb", "origin"),
    ("Destination Empty", "destination"),
    ("Destination Invalid: abc", "destination"),
    ("Message Empty", "message"),
    ("Message must be less than 160 characters long", "message"),
    (" origin empty. ", "origin"),
]


@pytest.mark.parametrize(("text", "field"), FIELDS)
def test_documented_error_texts_name_their_field(text: str, field: str) -> None:
    assert field_of(text) == field


OTHERS = [
    "",
    "API Version Empty",
    "API Version Invalid",
    "Request Method must be POST. GET attempted",
    "XML Empty",
    "XML parse error. not well-formed at line 3, column 7",
    "Request Empty",
    "HTTP 401: Unauthorized",
    "Internal Server Error",
    "Origin Emptyish",
    "No Destination Empty",
    "Credit Exhausted",
]


@pytest.mark.parametrize("text", OTHERS)
def test_any_other_text_names_none(text: str) -> None:
    assert field_of(text) is None
