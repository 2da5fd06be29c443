"""JSON of a request body, parsed strictly and bounded before a model sees it. Pure; untrusted.

A model's validation names every fault, so what it is given has to be bounded: 200,000 unknown names
would otherwise be 200,000 faults, seconds of the event loop and a response of 25 MB.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from typing import Any

from app.errors import MAX_FAULTS, BadRequest, FieldError, Invalid
from app.web.faults import quoted

UNCOUNTED = 64 * 1024
"""Bytes of a body up to which its members are not counted first: parsing it takes milliseconds."""
MAX_MEMBERS = 50_000
"""Members of objects and items of lists in a larger body: a batch's 1,000 messages with 50 each.
The decoder runs in C and holds the interpreter's lock throughout: 30 ms for as many as these."""
MAX_NUMBER = 100
"""Characters of a number. Converting one takes time by the square of its length: a thousand numbers
of 4,200 digits blocked the event loop for 0.3 s, and Python's own limit is higher."""
SLICE = 128 * 1024
"""Bytes that are counted without giving other threads a turn."""


class RepeatedNames(dict[str, Any]):
    """An object with duplicate names, so that it is ambiguous which value is meant."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.repeated = [name for name, count in counts.items() if count > 1]


def parse_json(body: bytes) -> Any:
    """Parse JSON in UTF-8, with or without a byte order mark.

    Raises BadRequest, or Invalid if it has more than MAX_MEMBERS. An object with a name that stands
    twice becomes a RepeatedNames.
    """
    if len(body) > UNCOUNTED and (count := count_members(body)) > MAX_MEMBERS:
        _require_shallow(body[:UNCOUNTED])
        fault = FieldError("body", f"has {count} names and values; at most {MAX_MEMBERS} are read")
        raise Invalid(
            "The body has too many names and values; nothing was done",
            errors=(fault,),
            errors_left_out=count - MAX_MEMBERS,
        )
    try:
        return _decoder.decode(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {_reason(error)}"[:300]) from None


def require_distinct(value: Any) -> None:
    """Raises Invalid, which names them, for an object in which names stand twice."""
    if isinstance(value, RepeatedNames):
        why = "stands twice in this object"
        faults = tuple(FieldError(quoted(name), why) for name in value.repeated)
        raise Invalid("Which of the values is meant cannot be told", errors=faults)


def require_nothing(value: Any) -> None:
    """Raises Invalid unless there is no body, or an empty object: the route reads no field."""
    if value is None or value == {}:
        return
    names = list(value) if isinstance(value, dict) else []
    faults = tuple(
        FieldError(quoted(name), "is not a field of this request") for name in names[:MAX_FAULTS]
    )
    raise Invalid(
        "This request takes no body; nothing was done",
        errors=faults or (FieldError("body", "must be left out"),),
        errors_left_out=len(names) - len(faults),
    )


def without_surplus(value: Any, known: Collection[str]) -> tuple[Any, int]:
    """An object with at most MAX_FAULTS names that are not ``known``, and how many were left out.

    Each of the names left out would have been one fault. Anything but an object stays as it is.
    """
    if not isinstance(value, dict) or len(value) <= MAX_FAULTS:
        return value, 0
    surplus = [name for name in value if name not in known][MAX_FAULTS:]
    if not surplus:
        return value, 0
    left_out = set(surplus)
    return {name: value[name] for name in value if name not in left_out}, len(surplus)


def count_members(body: bytes) -> int:
    """How many members and items the objects and lists have together, without parsing them.

    Exact for valid JSON, but that an empty object or list counts as one: each comma, and each
    bracket that opens, outside of strings.
    """
    count = 0
    in_string = False
    start = 0
    while start < len(body):
        part = body[start : start + SLICE]
        start += len(part)
        if b"\\" in part:
            if (len(part) - len(part.rstrip(b"\\"))) % 2:  # it escapes what is in the next one
                part += body[start : start + 1]
                start += 1
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = part.split(b'"')
        outside = b"".join(parts[in_string::2])
        count += outside.count(b",") + outside.count(b"{") + outside.count(b"[")
        in_string ^= len(parts) % 2 == 0
    return count


def _require_shallow(start: bytes) -> None:
    """Raises BadRequest if the body begins with more brackets than any parser follows."""
    try:
        _decoder.decode(start.decode("utf-8-sig", "replace"))
    except RecursionError as error:
        raise BadRequest(f"The body is not JSON: {_reason(error)}") from None
    except ValueError:  # it is cut off
        pass


class _NotJsonError(ValueError):
    """NaN or Infinity, which Python accepts and RFC 8259 does not."""


class _LongNumberError(_NotJsonError):
    """A number of more than MAX_NUMBER characters."""

    def __init__(self) -> None:
        super().__init__(f"a number has more than {MAX_NUMBER} characters")


def _reject_constant(word: str) -> None:
    raise _NotJsonError(f"{word} is not JSON")


def _whole(digits: str) -> int:
    if len(digits) > MAX_NUMBER:
        raise _LongNumberError
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > MAX_NUMBER:
        raise _LongNumberError
    return float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    return made if len(made) == len(pairs) else RepeatedNames(pairs)


_decoder = json.JSONDecoder(
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=_reject_constant,
    object_pairs_hook=_object,
)


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    if isinstance(error, json.JSONDecodeError | _NotJsonError):
        return str(error)
    return "it cannot be read"
