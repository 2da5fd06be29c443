"""Segments: tables made by hand from 3GPP TS 23.038, and a slow oracle that packs as phones do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.segments import Encoding, segments_of

GSM, UCS = Encoding.GSM_7, Encoding.UCS_2
BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

CASES = [
    ("empty", "", 1, GSM),
    ("short", "Hello", 1, GSM),
    ("160 letters", "a" * 160, 1, GSM),
    ("161 letters", "a" * 161, 2, GSM),
    ("306 letters", "a" * 306, 2, GSM),
    ("307 letters", "a" * 307, 3, GSM),
    ("the whole alphabet", BASIC, 1, GSM),
    ("80 euros", "€" * 80, 1, GSM),
    ("81 euros", "€" * 81, 2, GSM),
    ("every extension character", "\f^{}\\[~]|€", 1, GSM),
    ("159 letters and a euro", "a" * 159 + "€", 2, GSM),
    ("158 letters and a euro", "a" * 158 + "€", 1, GSM),
    ("an escape that would be split", "a" * 152 + "€" + "a" * 151, 2, GSM),
    ("an escape that is, so one more", "a" * 152 + "€" + "a" * 152, 3, GSM),
    ("160 euros", "€" * 160, 3, GSM),
    ("a small c with cedilla", "ç", 1, UCS),
    ("a back-tick", "`", 1, UCS),
    ("a curly quote", "\u2019", 1, UCS),
    ("a tab", "\t", 1, UCS),
    ("70 Greek", "ά" * 70, 1, UCS),
    ("71 Greek", "ά" * 71, 2, UCS),
    ("134 Greek", "ά" * 134, 2, UCS),
    ("135 Greek", "ά" * 135, 3, UCS),
    ("35 emoji", "😀" * 35, 1, UCS),
    ("36 emoji", "😀" * 36, 2, UCS),
    ("66 emoji: 33 fit a segment", "😀" * 66, 2, UCS),
    ("67 emoji", "😀" * 67, 3, UCS),
    ("160 emoji", "😀" * 160, 5, UCS),
    ("69 letters and an emoji", "a" * 69 + "😀", 2, UCS),
    ("a pair that would be split", "ά" * 66 + "😀" + "ά" * 64, 2, UCS),
    ("half a pair", "\ud83d", 1, UCS),
]


@pytest.mark.parametrize(
    ("text", "count", "encoding"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_segments(text: str, count: int, encoding: Encoding) -> None:
    found = segments_of(text)
    assert (found.count, found.encoding) == (count, encoding)
    assert (found.warning is None) == (encoding is GSM)


def test_the_alphabet_has_127_characters_and_the_escape() -> None:
    assert len(set(BASIC)) == 127


def test_the_warning_names_what_made_it_so() -> None:
    assert segments_of("It\u2019s 😀 here").warning == (
        "The text goes as UCS-2 (70 characters a segment instead of 160), because GSM-7 lacks "
        "U+2019, U+1F600; it takes 1 segment"
    )
    assert "U+03B4 and 3 more; it takes 2 segments" in str(
        segments_of("άέίαδεζη" + "a" * 70).warning
    )


@given(st.text(alphabet=st.sampled_from([*"a€\n{", "ά", "😀", "\ud800"]), max_size=400))
def test_like_a_phone_that_packs_unit_by_unit(text: str) -> None:
    is_gsm = not set(text) & {"ά", "😀", "\ud800"}
    signs = [
        len(char.encode("utf-16-le", "surrogatepass")) // 2 if not is_gsm else 1 + (char in "€{")
        for char in text
    ]
    alone, each = (160, 153) if is_gsm else (70, 67)
    segments = [0]
    for sign in signs:
        if segments[-1] + sign > each:
            segments.append(0)
        segments[-1] += sign
    assert segments_of(text).count == (1 if sum(signs) <= alone else len(segments))
