"""How many SMS segments a text takes, by 3GPP TS 23.038 and 23.040. Pure.

A text whose characters are all in the GSM 7-bit default alphabet or its extension table is counted
in septets: 160 fit one SMS, 153 each of several. Any other character turns the whole text into
UCS-2, counted in 16-bit units: 70 and 67. What a phone shows as one sign is never split: neither
an extension character's two septets nor a surrogate pair.

This is how handsets and carriers count. iovox does not say how it encodes, so it is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM = _BASIC | _EXTENSION
MOST_NAMED = 5
"""Characters that a warning names: enough to find them."""


class Encoding(StrEnum):
    """How a text goes over the air."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class _Size:
    alone: int
    each: int


_SIZES = {Encoding.GSM_7: _Size(alone=160, each=153), Encoding.UCS_2: _Size(alone=70, each=67)}


@dataclass(frozen=True, slots=True)
class Segments:
    """``count`` messages over the air, and the warning that an unusual encoding deserves."""

    count: int
    encoding: Encoding
    warning: str | None = None


def segments_of(text: str) -> Segments:
    """What this text takes. An empty one takes one segment, like any SMS."""
    if _GSM.issuperset(text):
        return Segments(_count(text, _EXTENSION, _SIZES[Encoding.GSM_7]), Encoding.GSM_7)
    astral = frozenset(char for char in text if char > "\uffff")
    size = _SIZES[Encoding.UCS_2]
    count = _count(text, astral, size)
    return Segments(count, Encoding.UCS_2, _warning(text, count, size))


def _count(text: str, doubles: frozenset[str], size: _Size) -> int:
    """``doubles`` are the characters that take two units."""
    if len(text) + sum(map(doubles.__contains__, text)) <= size.alone:
        return 1
    count, filled = 1, 0
    for char in text:
        needed = 2 if char in doubles else 1
        if filled + needed > size.each:
            count, filled = count + 1, 0
        filled += needed
    return count


def _warning(text: str, count: int, size: _Size) -> str:
    foreign = [char for char in dict.fromkeys(text) if char not in _GSM]
    named = ", ".join(f"U+{ord(char):04X}" for char in foreign[:MOST_NAMED])
    more = f" and {len(foreign) - MOST_NAMED} more" if len(foreign) > MOST_NAMED else ""
    return (
        f"The text goes as UCS-2 ({size.alone} characters a segment instead of 160), because GSM-7 "
        f"lacks {named}{more}; it takes {count} segment{'s' if count > 1 else ''}"
    )
