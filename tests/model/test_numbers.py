"""Phone numbers as people write them, and what is refused in words."""

from __future__ import annotations

from contextlib import suppress

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.model.numbers import (
    CACHE_SIZE,
    MAX_WRITTEN,
    MIN_DIGITS,
    _e164,
    as_written,
    digits_of,
    looks_like_number,
    read_number,
    read_origin,
)

WRITE_IT = "write it in international form, such as \\+447700900123"

INTERNATIONAL = [
    ("bare", "447700900123", "447700900123"),
    ("plus", "+447700900123", "447700900123"),
    ("double zero", "00447700900123", "447700900123"),
    ("spaces", "+44 7700 900123", "447700900123"),
    ("spaces outside", " +447700900123 ", "447700900123"),
    ("a tab and a line break", "+44\t7700 900123\n", "447700900123"),
    ("dashes", "+44-7700-900123", "447700900123"),
    ("other dashes", "+44 7700\u2013900\u2011123", "447700900123"),
    ("a minus", "+44\u22127700900123", "447700900123"),
    ("dots", "+44.7700.900123", "447700900123"),
    ("slashes", "+44/7700/900123", "447700900123"),
    ("brackets and a tilde", "+44 [7700] 900~123", "447700900123"),
    ("parentheses", "+44 (7700) 900 123", "447700900123"),
    ("the plus in parentheses", "(+44) 7700 900123", "447700900123"),
    ("a zero in parentheses", "+44 (0)7700 900123", "447700900123"),
    ("in other brackets", "0044 [0] 7700 900123", "447700900123"),
    ("a bare trunk zero", "+44 07700 900123", "447700900123"),
    ("without plus or 00", "44 (0)7700 900123", "447700900123"),
    ("a trunk zero in France", "+33 (0)6 12 34 56 78", "33612345678"),
    ("where there is none: Spain", "+34 (0)612 345 678", "34612345678"),
    ("where there is none: the United States", "+1 (0)212 555 0123", "12125550123"),
    ("Italy keeps its zero", "+39 06 698 12345", "390669812345"),
    ("Italy keeps its zero in parentheses", "+39 (0)6 698 12345", "390669812345"),
    ("no-break spaces", "+44\u00a07700\u202f900123", "447700900123"),
    ("an ideographic space", "+44\u30007700900123", "447700900123"),
    ("pasted, with directions", "\u202a+44 7700 900123\u202c", "447700900123"),
    ("zero-width spaces", "+44\u200b7700\u200b900123\ufeff", "447700900123"),
    ("soft hyphens", "+44\u00ad7700\u00ad900123", "447700900123"),
    ("word joiners", "\u2060+44\u20607700900123", "447700900123"),
    ("full width", "＋４４（０）７７００／９００１２３", "447700900123"),  # noqa: RUF001
    ("United States", "+1 (212) 555-0123", "12125550123"),
]

NATIONAL = [
    ("GB", "07700 900123", "447700900123"),
    ("GB", "(0)7700 900123", "447700900123"),
    ("GB", "(020) 7946 0123", "442079460123"),
    ("GB", "020/7946 0123", "442079460123"),
    ("GB", "７７００９００１２３", "447700900123"),  # noqa: RUF001
    ("GB", "7700 900123", "447700900123"),
    ("GB", "+33 6 12 34 56 78", "33612345678"),
    ("GB", "33612345678", "33612345678"),
    ("GB", "0033 612345678", "33612345678"),
    ("DE", "447700900123", "447700900123"),
    ("DE", "030 123456", "4930123456"),
    ("FR", "06 12 34 56 78", "33612345678"),
    ("ES", "612 345 678", "34612345678"),
    ("IT", "06 698 12345", "390669812345"),
    ("US", "(212) 555-0123", "12125550123"),
    ("US", "1 212 555 0123", "12125550123"),
    ("US", "447700900123", "447700900123"),
    ("US", "011 44 7700 900123", "447700900123"),
    ("RU", "8 (912) 345-67-89", "79123456789"),
]

UNREADABLE = [
    "",
    "+",
    "00",
    "+44",
    "abc",
    "60777",
    "+44 7700 900123 ext 4",
    "+44 7700 900123;ext=4",
    "+44 7700 900123x4",
    "+٤٤7700900123",
    "+4477009001234567890",
    "+00447700900123",
    "++447700900123",
    "44770090012X",
    "tel:+447700900123",
    "+44 7700 900123;+44 1",
    "+44 7700 900123 / +44 7700 900124",
    "+44 7700 900123/900124",
    "4" * 200,
    "4" * 100_000,
    "\u200b" * 100_000,
]


@pytest.mark.parametrize(
    ("written", "digits"), [c[1:] for c in INTERNATIONAL], ids=[c[0] for c in INTERNATIONAL]
)
@pytest.mark.parametrize("region", [None, "GB"])
def test_international_forms(written: str, digits: str, region: str | None) -> None:
    assert read_number(written, region) == digits


@pytest.mark.parametrize(("region", "written", "digits"), NATIONAL)
def test_national_forms_are_those_of_the_region(region: str, written: str, digits: str) -> None:
    assert read_number(written, region) == digits


def as_id(written: str) -> str:
    """Without backslashes: pytest escapes those once more in each collection of a process, and
    `make mutants` would not find the tests again.
    """
    return ascii(written[:20]).replace("\\", "")


@pytest.mark.parametrize("written", UNREADABLE, ids=as_id)
@pytest.mark.parametrize("region", [None, "GB"])
def test_what_cannot_be_read_says_what_to_write(written: str, region: str | None) -> None:
    with pytest.raises(ValueError, match=WRITE_IT):
        read_number(written, region)


@pytest.mark.parametrize("written", ["07700900123", "07700 900123", "(0)7700 900123"])
def test_national_forms_need_a_region(written: str) -> None:
    with pytest.raises(ValueError, match=WRITE_IT):
        read_number(written)


def test_what_may_be_either_of_two_numbers_is_not_guessed() -> None:
    with pytest.raises(ValueError, match=r"\+4325550123 or \+14325550123"):
        read_number("(432) 555-0123", "US")
    assert read_number("+1 (432) 555-0123", "US") == "14325550123"


@pytest.mark.parametrize("region", sorted(phonenumbers.SUPPORTED_REGIONS))
def test_every_region_reads_its_own_example_in_every_notation(region: str) -> None:
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    if example is None:
        pytest.skip("it has no example of a mobile number")
    formats = phonenumbers.PhoneNumberFormat
    digits = phonenumbers.format_number(example, formats.E164)[1:]
    for form in (formats.E164, formats.INTERNATIONAL):
        assert read_number(phonenumbers.format_number(example, form), region) == digits
    # Where it is another country's as well, it is refused and both are named.
    national = phonenumbers.format_number(example, formats.NATIONAL)
    with suppress(ValueError):
        assert read_number(national, region) == digits
        return
    with pytest.raises(ValueError, match=f"\\+{digits}"):
        read_number(national, region)


@given(st.text(max_size=40) | st.text("+0123456789 ()-/\u200b４", max_size=20))  # noqa: RUF001
def test_what_was_read_is_found_by_the_same_words_and_by_its_digits(written: str) -> None:
    try:
        digits = read_number(written, "GB")
    except ValueError:
        return
    assert read_number(written, "GB") == digits
    assert read_number(f"+{digits}") == read_number(digits, "GB") == digits


def test_impossible_lengths_are_not_cached() -> None:
    """A body may have millions of digits, and the cache has thousands of entries."""
    _e164.cache_clear()
    for length in (26, 200, 10_000):
        with pytest.raises(ValueError, match=WRITE_IT):
            read_number("4" * length)
    assert _e164.cache_info().currsize == 0
    assert _e164.cache_info().maxsize == CACHE_SIZE


ORIGINS = [
    ("iovox's own example", "447923221231", "447923221231"),
    ("plus", "+447923221231", "447923221231"),
    ("double zero", "00447923221231", "447923221231"),
    ("fifteen digits", "4" * 15, "4" * 15),
    ("a short code", "60777", "60777"),
    ("as people write it", "+44 (0)7923 221231", "447923221231"),
    ("pasted", "\u202a+447923221231\u202c", "447923221231"),
    ("full width", "４４７９２３２２１２３１", "447923221231"),  # noqa: RUF001
    ("a name", "ACME Ltd.", "ACME Ltd."),
    ("a pasted name", "AC\u200bME", "ACME"),
    ("eleven characters", "Eleven char", "Eleven char"),
]


@pytest.mark.parametrize(("written", "sent"), [c[1:] for c in ORIGINS], ids=[c[0] for c in ORIGINS])
def test_origins(written: str, sent: str) -> None:
    assert read_origin(written) == sent


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("Twelve chars", "at most 11 characters, and this one 12"),
        ("Müller", r"not U\+00FC"),
        ("A&B", r"not U\+0026"),
        ("a\tb", r"not U\+0009"),
        ("+44 79", WRITE_IT),
        ("4" * 16, "has 1 to 15 digits after \\+ or 00; this one has 16"),
        ("00", "this one has 0"),
        ("+", WRITE_IT),
        ("x" * 100_000, "it has 100000 characters"),
    ],
    ids=as_id,
)
def test_an_origin_is_refused_with_the_reason(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_origin(written)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("+44 (0)7700 900123", "4407700900123"),
        ("0123", "0123"),
        ("\uff10\uff11\u200b23", "0123"),
        ("++44", None),
        ("order-42", None),
        ("", None),
        ("1" * MAX_WRITTEN, "1" * MAX_WRITTEN),
        ("1" * (MAX_WRITTEN + 1), None),
    ],
)
def test_the_digits_of_a_part_of_a_number(text: str, digits: str | None) -> None:
    assert digits_of(text) == digits


def test_what_may_be_a_number_has_enough_digits_for_one() -> None:
    assert looks_like_number("1" * MIN_DIGITS)
    assert looks_like_number("00" + "1" * MIN_DIGITS)
    assert not looks_like_number("1" * (MIN_DIGITS - 1))
    assert not looks_like_number("00" + "1" * (MIN_DIGITS - 1))
    assert not looks_like_number("order")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("447700900123", "07700 900123"),
        ("4915123456789", "+49 1512 3456789"),
        ("60777", "60777"),
        ("9", "9"),
        ("Company", "Company"),
        ("\u0664\u0664", "\u0664\u0664"),
    ],
)
def test_as_people_in_london_write_it(stored: str, shown: str) -> None:
    assert as_written(stored) == shown
