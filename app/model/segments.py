"""The number of SMS segments of a text, by 3GPP TS 23.038 and 23.040. Pure.

A text whose characters are all in the GSM 7-bit default alphabet or its extension table is counted
in septets: 160 fit a single SMS, 153 each segment of a concatenated one. Any other character turns
the whole text into UCS-2, counted in 16-bit units: 70 and 67. A character is never split across
segments: neither an extension character's two septets nor a surrogate pair.

An estimate: iovox does not document its encoding.
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
MAX_NAMED = 5
"""Characters that a warning lists at most."""


class Encoding(StrEnum):
    """The encoding of a text over the air."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class _SegmentSize:
    single: int
    concatenated: int


_SEGMENT_SIZES = {
    Encoding.GSM_7: _SegmentSize(single=160, concatenated=153),
    Encoding.UCS_2: _SegmentSize(single=70, concatenated=67),
}


@dataclass(frozen=True, slots=True)
class Segments:
    """The number of segments, and a warning if the encoding makes the text take more of them."""

    count: int
    encoding: Encoding
    warning: str | None = None


def segments_of(text: str) -> Segments:
    """The segments of a text. An empty text takes one, like any SMS."""
    if _GSM.issuperset(text):
        return Segments(_count(text, _EXTENSION, _SEGMENT_SIZES[Encoding.GSM_7]), Encoding.GSM_7)
    astral = frozenset(char for char in text if char > "\uffff")
    size = _SEGMENT_SIZES[Encoding.UCS_2]
    count = _count(text, astral, size)
    return Segments(count, Encoding.UCS_2, _warning(text, count, size))


def _count(text: str, double_width: frozenset[str], size: _SegmentSize) -> int:
    """``double_width`` are the characters that take two units."""
    if len(text) + sum(map(double_width.__contains__, text)) <= size.single:
        return 1
    count, filled = 1, 0
    for char in text:
        needed = 2 if char in double_width else 1
        if filled + needed > size.concatenated:
            count, filled = count + 1, 0
        filled += needed
    return count


def _warning(text: str, count: int, size: _SegmentSize) -> str:
    foreign = [char for char in dict.fromkeys(text) if char not in _GSM]
    named = ", ".join(f"U+{ord(char):04X}" for char in foreign[:MAX_NAMED])
    more = f" and {len(foreign) - MAX_NAMED} more" if len(foreign) > MAX_NAMED else ""
    return (
        f"The text goes as UCS-2 ({size.single} characters a segment instead of 160), because "
        f"GSM-7 lacks {named}{more}; it takes {count} segment{'s' if count > 1 else ''}"
    )
