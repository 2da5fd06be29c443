"""Phone numbers as people and spreadsheets write them, to E.164 digits. Pure; untrusted text.

The one reader of numbers: what was accepted in one place is found by the same words in another. Its
ValueErrors say what to write.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from phonenumbers import (
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
    format_number,
    is_possible_number,
    is_possible_number_with_reason,
    is_valid_number,
    normalize_digits_only,
    parse,
)

WRITE_IT = "write it in international form, such as +447700900123"
MAX_E164_DIGITS = 15
MIN_DIGITS = 7
"""Digits from which a text that may also be something else is taken for a number."""
MAX_RAW_DIGITS = 25
"""Digits of a number as it is written, with prefixes and zeros that are not dialled from abroad."""
MAX_WRITTEN = 255
"""Characters that are looked at; nobody writes a number with more."""
MAX_NAME_LENGTH = 11
BRITISH = 44
"""The country code of numbers that are shown in national form."""
CACHE_SIZE = 10_000
"""Numbers repeat, and parsing one takes longer than all the rest of a request."""

# libphonenumber's punctuation without its x, a letter, and white space of every kind.
_PUNCTUATION = re.compile(
    r"[\s()\[\]./~\-"
    "\u2010-\u2015\u2053\u2212\u223c\u30fc\uff08\uff09\uff0d-\uff0f\uff3b\uff3d\uff5e]+"
)
_FULL_WIDTH = str.maketrans("０１２３４５６７８９＋", "0123456789+")  # noqa: RUF001
_TRUNK_ZERO = re.compile(r"[(\[\uff08\uff3b]\s*0\s*[)\]\uff09\uff3d]")
_WRITTEN = re.compile(r"(\+|00)?([0-9]+)")
_NUMERIC_ORIGIN = re.compile(r"\+?[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9 .]+")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9 .]")


def read_number(text: str, region: str | None = None) -> str:
    """The E.164 digits, without a +. Raises ValueError, which says what to write.

    National forms are those of ``region``; without one they are refused. Digits without a prefix
    are in international form where they can be.
    """
    shown = _without_invisible(text).translate(_FULL_WIDTH)
    for written in dict.fromkeys((shown, _TRUNK_ZERO.sub("", shown))):
        match = _WRITTEN.fullmatch(_PUNCTUATION.sub("", written))
        if match and len(match[2]) <= MAX_RAW_DIGITS and (e164 := _e164(*match.groups(), region)):
            return e164
    raise ValueError(WRITE_IT)


def digits_of(text: str) -> str | None:
    """The digits of what is written as a number or as a part of one; None for anything else."""
    if len(text) > MAX_WRITTEN:
        return None
    shown = _PUNCTUATION.sub("", _without_invisible(text).translate(_FULL_WIDTH))
    return shown.removeprefix("+") if _WRITTEN.fullmatch(shown) else None


def looks_like_number(text: str) -> bool:
    """Whether it is written as a number with enough digits for one; it may be an id, too."""
    return len((digits_of(text) or "").removeprefix("00")) >= MIN_DIGITS


def read_origin(text: str, region: str | None = None) -> str:
    """The digits of a numeric origin without + or 00, or the name as it is. Raises ValueError.

    iovox's rule, read so that its own 12-digit example passes: 11 limits names, not numbers.
    """
    origin = _without_invisible(text)
    numeric = origin.translate(_FULL_WIDTH)
    if _NUMERIC_ORIGIN.fullmatch(numeric):
        digits = numeric[1:] if numeric.startswith("+") else numeric.removeprefix("00")
        if 1 <= len(digits) <= MAX_E164_DIGITS:
            return digits
        raise ValueError(
            f"a number has 1 to {MAX_E164_DIGITS} digits after + or 00; this one has {len(digits)}"
        )
    if _NAME.fullmatch(origin) and len(origin) <= MAX_NAME_LENGTH:
        return origin
    try:
        return read_number(origin, region)
    except ValueError:
        raise ValueError(_why_no_origin(origin)) from None


def as_written(e164: str) -> str:
    """As people in London write it: 07700 900123, +49 1512 3456789; names stay as they are."""
    number = _parse(f"+{e164}", None) if e164.isascii() and e164.isdigit() else None
    if number is None or not is_possible_number(number):
        return e164
    is_british = number.country_code == BRITISH
    style = PhoneNumberFormat.NATIONAL if is_british else PhoneNumberFormat.INTERNATIONAL
    return format_number(number, style)


def _why_no_origin(origin: str) -> str:
    if not any(char.isalpha() for char in origin):
        return f"it is no number that can be read: {WRITE_IT}"
    if others := dict.fromkeys(_NOT_IN_A_NAME.findall(origin)):
        named = ", ".join(f"U+{ord(char):04X}" for char in list(others)[:5])
        return f"a name has only the letters A to Z, digits, spaces and full stops, not {named}"
    return f"a name has at most {MAX_NAME_LENGTH} characters, and this one {len(origin)}"


def _without_invisible(text: str) -> str:
    """The text without format characters, which come along when a number is pasted."""
    if len(text) > MAX_WRITTEN:
        raise ValueError(f"it has {len(text)} characters; {WRITE_IT}")
    if text.isascii():
        return text
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


@lru_cache(maxsize=CACHE_SIZE)
def _e164(prefix: str | None, digits: str, region: str | None) -> str | None:
    """The number's E.164 digits; None where it is impossible. Raises ValueError for two numbers."""
    abroad = None if digits.startswith("0") else _parse(f"+{digits}", None)
    if abroad is not None and not (is_possible_number(abroad) and _is_stable(abroad)):
        abroad = None
    home = None if prefix or region is None else _parse(digits, region)
    if home is not None and not (_is_whole(home) and _is_stable(home)):
        home = None
    # Digits without the trunk zero that most countries have are read as national only where they
    # cannot be international.
    if abroad is not None and home is not None and _national(home) != digits:
        home = None
    readings = {_e164_digits(one): one for one in (abroad, home) if one is not None}
    if len(readings) > 1:
        valid = [e164 for e164, one in readings.items() if is_valid_number(one)]
        if len(valid) > 1:
            either = " or ".join(f"+{e164}" for e164 in valid)
            raise ValueError(f"it may be {either}: write the one you mean, with its +")
        return valid[0] if valid else next(iter(readings))
    return next(iter(readings), None)


def _parse(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return parse(text, region)
    except NumberParseException:
        return None


def _e164_digits(number: PhoneNumber) -> str:
    return format_number(number, PhoneNumberFormat.E164).removeprefix("+")


def _is_whole(number: PhoneNumber) -> bool:
    """Whether it is possible, and not only within one town."""
    return is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE


def _is_stable(number: PhoneNumber) -> bool:
    """Whether its E.164 digits are read as this number again, and not as one with a zero less."""
    return _parse(f"+{_e164_digits(number)}", None) == number


def _national(number: PhoneNumber) -> str:
    """The digits that are dialled within the country."""
    return normalize_digits_only(format_number(number, PhoneNumberFormat.NATIONAL))
