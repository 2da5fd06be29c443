"""Where a text mentions a phone number, in whatever notation. Pure.

Used to erase, where a false positive costs a line of text and a false negative leaves somebody's
number. So any run of its digits counts, whatever stands between them and before them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import unescape
from typing import Any
from urllib.parse import unquote

from phonenumbers import NumberParseException, national_significant_number, parse

ERASED = "(erased)"
_SHORTEST_WORD = 4
"""Characters of a reference or a text that is looked for in other texts; shorter ones are
everywhere.
"""
_BETWEEN = r"[^0-9A-Za-z]{0,3}"
_NOWHERE = r"(?!)"
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})")


class Mentions:
    """Finds one number, given as E.164 digits, and words that stand beside it."""

    def __init__(self, number: str, words: Iterable[str | None] = ()) -> None:
        """An empty number, of what was erased before, is mentioned nowhere."""
        self.national = _national(number) if number else ""
        """Its digits without the country's: what all of its notations have in common."""
        apart = _BETWEEN.join(re.escape(digit) for digit in self.national)
        with_prefix = rf"\+?(?:[0-9]{{1,6}}{_BETWEEN}){{0,2}}{apart}" if number else _NOWHERE
        named = [re.escape(word) for word in words if word and len(word) >= _SHORTEST_WORD]
        self._pattern = re.compile("|".join([*named, with_prefix]))

    def are_in(self, text: str | None) -> bool:
        """Whether the text mentions it."""
        return bool(text) and any(map(self._pattern.search, _readings(text or "")))

    def are_in_bytes(self, body: bytes) -> bool:
        """Whether the body of a request mentions it."""
        return self.are_in(body.decode("utf-8", "replace"))

    def erased_from(self, text: str) -> str:
        """The text without it; all of the text, if it is there in an odd notation."""
        left = self._pattern.sub(ERASED, text)
        return ERASED if self.are_in(left) else left

    def erased_from_json(self, stored: str) -> str:
        """JSON with it erased from each of its texts."""
        value = self._erased(json.loads(stored))
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def _erased(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.erased_from(value)
        if isinstance(value, list):
            return [self._erased(one) for one in value]
        if isinstance(value, dict):
            return {self.erased_from(name): self._erased(one) for name, one in value.items()}
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self.erased_from(str(value)) if self.are_in(str(value)) else value
        return value


def _national(number: str) -> str:
    try:
        return national_significant_number(parse(f"+{number}", None))
    except NumberParseException:
        return number


def _readings(text: str) -> Iterator[str]:
    """The text with JSON's escapes decoded, and with those of HTML or of URLs decoded as well."""
    shown = _plain(text)
    yield shown
    if "&" in shown:
        yield _plain(unescape(shown))
    if "%" in shown:
        yield _plain(unquote(shown))


def _plain(text: str) -> str:
    """The text with JSON's escapes decoded, full-width digits as ASCII, no format characters."""
    if "\\u" in text:
        text = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    if text.isascii():
        return text
    shown = unicodedata.normalize("NFKC", text)
    return "".join(char for char in shown if unicodedata.category(char) != "Cf")
