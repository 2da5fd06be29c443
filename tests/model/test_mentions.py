"""A number is found in whatever notation, and nothing else is taken for it."""

from __future__ import annotations

import json

import pytest

from app.model.mentions import ERASED, Mentions

NUMBER = "447700900123"
FOUND = [
    "447700900123",
    "+447700900123",
    "00447700900123",
    "+44 (0)7700 900-123",
    "07700 900 123",
    "0 7 7 0 0 9 0 0 1 2 3",
    "(07700) 900/123",
    "7700.900.123",
    "07700\u2011900\u2011123",  # non-breaking hyphens
    "\uff10\uff17\uff17\uff10\uff10\uff19\uff10\uff10\uff11\uff12\uff13",  # full-width digits
    "07700\u200b900123",  # a space of no width
    r"0\u0037700900123",  # as JSON may escape it
    "call 07700 900123 or write",
    "?to=%2B44%207700%20900%20123",  # in an address
    "&#48;7700&nbsp;900123",
]
OTHERS = ["447700900124", "07700 900 12", "77009-a-00123", "", "7 7 0 0 something 9 0 0 1 2 3"]


@pytest.mark.parametrize("text", FOUND)
def test_found_and_erased(text: str) -> None:
    mentions = Mentions(NUMBER)
    assert mentions.are_in(text)
    assert mentions.are_in_bytes(text.encode())
    left = mentions.erased_from(f"before {text} after")
    assert not mentions.are_in(left)
    assert ERASED in left


@pytest.mark.parametrize("text", OTHERS)
def test_others_are_left_alone(text: str) -> None:
    mentions = Mentions(NUMBER)
    assert not mentions.are_in(text)
    assert mentions.erased_from(text) == text


def test_what_stands_around_it_stays() -> None:
    left = Mentions(NUMBER).erased_from("Destination Invalid: +44 7700 900123 (too long)")
    assert left == f"Destination Invalid: {ERASED} (too long)"


def test_words_beside_it() -> None:
    mentions = Mentions(NUMBER, ["order-42", "x"])
    assert mentions.erased_from("order-42 of x") == f"{ERASED} of x"


def test_json_stays_json() -> None:
    stored = json.dumps({"a": [f"to {NUMBER}", 447700900123, 12, True, None], "b": {"c": "d"}})
    left = json.loads(Mentions(NUMBER).erased_from_json(stored))
    assert left == {"a": [f"to {ERASED}", ERASED, 12, True, None], "b": {"c": "d"}}


def test_bytes_that_are_no_text() -> None:
    assert Mentions(NUMBER).are_in_bytes(b"\xff\x00" + NUMBER.encode())
    assert not Mentions(NUMBER).are_in_bytes(b"\xff\x00")


def test_no_number_is_mentioned_nowhere() -> None:
    nobody = Mentions("")
    assert not any(nobody.are_in(text) for text in (*FOUND, *OTHERS))
    assert nobody.erased_from("call 07700 900123") == "call 07700 900123"
