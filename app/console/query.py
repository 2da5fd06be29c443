"""The words of the search box, read as filters. Untrusted text; pure.

One box takes anything: a number in any notation or its last digits, either id, the beginning of a
reference, and the words `to:`, `from:`, `status:`, `ref:`, `before:`, `after:`; a `-` in front of
one excludes. Times are London's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from app.model.london import LONDON, midnight
from app.model.numbers import digits_of, read_number, read_origin
from app.model.search import LAST_DIGITS, MESSAGE_STATUSES, Search
from app.model.status import Status
from app.model.words import STATUSES

MAX_LENGTH = 300
"""Characters of a search that are read."""
SHOWN = 4_000
"""Characters of a longer one that the search box still shows."""
SHORTEST_NATIONAL = 8
"""Digits of a national number, without the zero in front."""

GROUPS: Mapping[str, frozenset[Status]] = {
    "delivered": frozenset({Status.DELIVERED}),
    "waiting": frozenset(
        {
            Status.QUEUED,
            Status.SENDING,
            Status.SUBMITTED,
            Status.ACKNOWLEDGED,
            Status.BUFFERED,
        }
    ),
    "failed": frozenset({Status.FAILED, Status.EXPIRED}),
    "unconfirmed": frozenset({Status.UNCONFIRMED}),
    "unsent": frozenset({Status.REJECTED, Status.UNSENT, Status.CANCELLED}),
}
"""Statuses that mean the same to a customer, as counted above a list."""
SITUATIONS = ("overdue", "contradictory")
"""What `status:` takes besides statuses: each is a filter of its own."""

_BY_NAME = {
    spelled: status
    for status in MESSAGE_STATUSES
    for spelled in (status.lower(), STATUSES[status].label.lower())
}
"""Each by its own name, and as the lists write it."""
_TOKEN = re.compile(r'-?[A-Za-z]+:"[^"]*"|-?"[^"]*"|\S+')
_OPERATOR = re.compile(r"(-?)(to|from|status|ref|before|after):(.*)", re.IGNORECASE | re.DOTALL)
_AGO = re.compile(r"(\d{1,4})([dhm])")
_WHEN = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d))?")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True, slots=True)
class Query:
    """A search as it was typed. ``words`` is what stands without an operator, and may be an id.

    ``search`` is the first reading; ``otherwise`` the one to try where that finds nothing: digits
    may also begin a reference. ``faults`` say what cannot be read, and what to write.
    """

    text: str
    words: str
    search: Search
    otherwise: Search | None = None
    faults: tuple[str, ...] = field(default=())

    @property
    def number(self) -> str | None:
        """The number, if nothing is asked for but what was sent to one."""
        search = self.search
        if replace(search, destination=None, destination_ends=None) != Search(app=search.app):
            return None
        is_whole = len(search.destination_ends or "") >= SHORTEST_NATIONAL
        return search.destination or (self.words if is_whole else None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked for."""
        return not self.text


class _Unreadable(Exception):
    """What cannot be read, in words."""


def read(text: str, *, app: str | None, region: str | None, now: datetime) -> Query:
    """Read a search. ``app`` is whose messages may be seen; never raises."""
    text = text.strip()
    base = Search(app=app)
    if len(text) > MAX_LENGTH:
        fault = f"A search has at most {MAX_LENGTH} characters; this one has {len(text)}."
        return Query(text[:SHOWN], "", base, faults=(fault,))
    if "\x00" in text or any("\ud800" <= char <= "\udfff" for char in text):
        return Query(text, "", base, faults=("The search has characters that no text can hold.",))
    faults: list[str] = []
    words: list[str] = []
    search = base
    for excluded, name, value in _parts(text):
        if not name and not excluded:
            words.append(value)
            continue
        try:
            search = _narrow(search, name, value, excluded=excluded, region=region, now=now)
        except _Unreadable as unreadable:
            faults.append(str(unreadable))
    free = " ".join(words)
    if not free:
        return Query(text, "", search, faults=tuple(faults))
    try:
        first, second = _free(search, free, region)
    except _Unreadable as unreadable:
        return Query(text, free, search, faults=(*faults, str(unreadable)))
    return Query(text, free, first, second, tuple(faults))


def _parts(text: str) -> Iterator[tuple[bool, str, str]]:
    """The tokens of a search: whether it is excluded, its operator or "", and its value.

    Digits behind the number of `to:` or `from:` belong to it: people write spaces in numbers.
    """
    tokens = _TOKEN.findall(text)
    place = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        match = _OPERATOR.fullmatch(token)
        if match is None:
            excluded = token.startswith("-") and len(token) > 1 and not token[1:2].isspace()
            word = token[1:] if excluded else token
            yield excluded, "", word.strip('"') or word
            continue
        sign, name, value = match.groups()
        value = value.strip('"')
        if name.lower() in ("to", "from") and (not value or digits_of(value)):
            while place < len(tokens) and _goes_on(tokens[place]):
                value = f"{value} {tokens[place]}".strip()
                place += 1
        yield bool(sign), name.lower(), value.strip()


def _goes_on(token: str) -> bool:
    """Whether it belongs to the number before it. A minus in front excludes what follows it."""
    return digits_of(token) is not None and not token.startswith("-")


def _narrow(
    search: Search, name: str, value: str, *, excluded: bool, region: str | None, now: datetime
) -> Search:
    if not value:
        raise _Unreadable(f"Nothing stands behind {name}:")
    if not name:  # -word
        name = "to" if len(digits_of(value) or "") >= LAST_DIGITS else "ref"
    if excluded and name in ("before", "after"):
        raise _Unreadable(f"-{name}: has no meaning; write before: or after:")
    readers: Mapping[str, Callable[[], dict[str, object]]] = {
        "to": lambda: _to(value, region, excluded=excluded),
        "from": lambda: {"not_origin" if excluded else "origin": _origin(value, region)},
        "ref": lambda: {"not_reference_starts" if excluded else "reference_starts": value},
        "status": lambda: _status(search, value, excluded=excluded),
        "before": lambda: {"created_to": _time(value, now)},
        "after": lambda: {"created_from": _time(value, now)},
    }
    found = readers[name]()
    for one in found:
        if one not in ("statuses", *SITUATIONS) and getattr(search, one) is not None:
            raise _Unreadable(f"{'-' if excluded else ''}{name}: stands there twice; write it once")
    return replace(search, **found)  # type: ignore[arg-type]


def _free(search: Search, text: str, region: str | None) -> tuple[Search, Search | None]:
    """Digits are a number first and a reference otherwise; anything else is a reference."""
    is_number = len(digits_of(text) or "") >= LAST_DIGITS
    has_number = search.destination is not None or search.destination_ends is not None
    if is_number and has_number:
        raise _Unreadable(f"“{text[:60]}” is a second number; write one, or ref: in front of it")
    if not is_number and search.reference_starts is not None:
        raise _Unreadable("There are two references; write one")
    by_reference = replace(search, reference_starts=search.reference_starts or text)
    if not is_number:
        return by_reference, None
    by_number = replace(search, **_to(text, region, excluded=False))  # type: ignore[arg-type]
    return by_number, by_reference if search.reference_starts is None else None


def _to(text: str, region: str | None, *, excluded: bool) -> dict[str, object]:
    """A whole number, or its last digits. A national form ends like the international one."""
    if not excluded:
        try:
            return {"destination": read_number(text, region)}
        except ValueError:
            pass
    digits = digits_of(text)
    if digits is None:
        raise _Unreadable(
            f"“{text[:60]}” is no phone number: write +447700900123 or its last digits"
        )
    if len(digits) < LAST_DIGITS:
        raise _Unreadable(f"“{text[:60]}” is too short: write at least {LAST_DIGITS} last digits")
    # Leading zeros of a whole number are prefixes, which the international form does not have.
    national = digits.lstrip("0")
    ends = national if len(national) >= SHORTEST_NATIONAL else digits
    return {"not_destination_ends" if excluded else "destination_ends": ends}


def _origin(text: str, region: str | None) -> str:
    try:
        return read_origin(text, region)
    except ValueError as error:
        raise _Unreadable(f"from: “{text[:60]}” is no origin: {error}") from None


def _status(search: Search, text: str, *, excluded: bool) -> dict[str, object]:
    changed: dict[str, object] = {}
    wanted: set[Status] = set()
    for name in text.lower().split(","):
        if name in SITUATIONS:
            changed[name] = not excluded
        elif name in GROUPS:
            wanted |= GROUPS[name]
        elif status := _BY_NAME.get(name):
            wanted.add(status)
        else:
            known = ", ".join([*GROUPS, *SITUATIONS])
            raise _Unreadable(f"status: “{name[:40]}” is not known; there are {known}")
    if wanted:
        before = MESSAGE_STATUSES if search.statuses is None else search.statuses
        changed["statuses"] = frozenset(before - wanted if excluded else before & wanted)
    return changed


def _time(text: str, now: datetime) -> datetime:
    """A date is its midnight in London. Raises _Unreadable."""
    today = now.astimezone(LONDON).date()
    try:
        if text.lower() == "today":
            return midnight(today)
        if text.lower() == "yesterday":
            return midnight(today - timedelta(days=1))
        if match := _AGO.fullmatch(text.lower()):
            return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
        if match := _WHEN.fullmatch(text):
            year, month, day, hour, minute = (int(part or 0) for part in match.groups())
            if match[4] is None:
                return midnight(date(year, month, day))
            return datetime(year, month, day, hour, minute, tzinfo=LONDON).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _Unreadable(
        f"“{text[:40]}” is no time: write 2026-11-22, 2026-11-22T09:00, today, yesterday or 7d"
    )
