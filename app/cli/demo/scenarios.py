"""The scenarios and what has to come of them: one table, and one judge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from iovox_receipts import Entry, Message

LONDON = ZoneInfo("Europe/London")
"""By Python itself, so that the demo does not judge the service by the service's own code."""

READ_TIMEOUT = 2.0
"""Seconds that the demo's service waits for iovox: short, so that the lost answer is given up."""
LATE = 5.0
"""Seconds before the receipts of the lost answer: well after the service has given it up."""
SPACING = 1.0
"""Seconds between all other receipts, as they are posted and as they are dated."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One text. ``ending``: the last digits of its destination; they tell the simulator what to do.

    ``arrival`` is the order in which receipts arrive where that is not the order of their times.
    ``played`` are receipts that the demo posts itself in iovox's place, and ``times`` what their
    London times are in UTC.
    """

    name: str
    story: str
    ending: str
    answer: str
    history: tuple[str, ...]
    arrival: tuple[str, ...] = ()
    text: str = "Hello there, my name is John"
    final: bool = True
    status: str = ""
    """The message's status where that is not the history's last."""
    contradictory: bool = False
    played: tuple[Mapping[str, str], ...] = ()
    times: tuple[str, ...] = ()

    @property
    def destination(self) -> str:
        """A number of the range that Ofcom reserves for drama."""
        return f"4477009001{self.ending}"

    @property
    def receipts(self) -> int:
        """How many receipts have to come."""
        return sum(status not in OURS for status in self.history)


OURS = ("SUBMITTED", "UNCONFIRMED")

ANSWER_LOST = Scenario(
    "answer lost",
    "iovox took it, its answer never came: UNCONFIRMED, never sent twice, settled by a receipt",
    ending="10",
    answer="UNCONFIRMED",
    history=("UNCONFIRMED", "SUBMITTED", "ACKNOWLEDGED", "DELIVERED"),
)

SCENARIOS = (
    Scenario(
        "delivered",
        "acknowledged, then delivered",
        ending="00",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "DELIVERED"),
        text="Ünïcode & <emoji> 😀",
    ),
    Scenario(
        "failed",
        "acknowledged, then failed",
        ending="01",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "FAILED"),
    ),
    Scenario(
        "buffered",
        "the handset is off for a while: buffered, then delivered",
        ending="02",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "BUFFERED", "DELIVERED"),
    ),
    Scenario(
        "out of order",
        "DELIVERED arrives before ACKNOWLEDGED; the history has them as they happened",
        ending="07",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "DELIVERED"),
        arrival=("DELIVERED", "ACKNOWLEDGED"),
    ),
    Scenario(
        "no receipt",
        "iovox took it and was never heard of again",
        ending="05",
        answer="SUBMITTED",
        history=("SUBMITTED",),
        final=False,
    ),
    Scenario(
        "summer time",
        "the receipts that iovox's documentation shows, of a day when London is UTC plus one hour",
        ending="05",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "DELIVERED"),
        played=(
            {
                "delivery_status": "smsc submit",
                "status_reason": "8",
                "receipt_timestamp": "2020-05-06 18:37:37",
                "status": "ACKNOWLEDGED",
            },
            {
                "delivery_status": "delivery success",
                "status_reason": "1",
                "receipt_timestamp": "2020-05-06 18:37:46",
                "status": "DELIVERED",
            },
        ),
        times=("2020-05-06T17:37:37", "2020-05-06T17:37:46"),
    ),
    Scenario(
        "contradictory",
        "delivered, then a late failure: it stays delivered, and whoever is told learns of both",
        ending="14",
        answer="SUBMITTED",
        history=("SUBMITTED", "ACKNOWLEDGED", "DELIVERED", "FAILED"),
        status="DELIVERED",
        contradictory=True,
    ),
    ANSWER_LOST,
)


def judge(scenario: Scenario, answer: str, message: Message) -> list[str]:
    """Everything about a message that is not what its scenario says; nothing where all is well."""
    return list(_faults(scenario, answer, message))


def is_complete(scenario: Scenario, message: Message) -> bool:
    """Whether as much has happened as should."""
    return len(message.history) >= len(scenario.history)


def _faults(scenario: Scenario, answer: str, message: Message) -> Iterator[str]:
    found = tuple(entry.status for entry in message.history)
    receipts = [entry for entry in message.history if entry.source == "iovox"]
    arrived = tuple(e.status for e in sorted(receipts, key=lambda e: e.received_at or e.at))
    times = tuple(f"{entry.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" for entry in receipts)
    facts: tuple[tuple[str, object, object], ...] = (
        ("the answer to the send", answer, scenario.answer),
        ("the history", found, scenario.history),
        ("the status", message.status, scenario.status or scenario.history[-1]),
        ("final", message.final, scenario.final),
        ("contradictory", message.contradictory, scenario.contradictory),
        ("the destination", message.destination, scenario.destination),
        ("the text", message.text, scenario.text),
        ("the receipts' order of arrival", arrived, scenario.arrival or arrived),
        ("the receipts' time in UTC", times, scenario.times or times),
    )
    for name, is_so, should_be in facts:
        if is_so != should_be:
            yield f"{name} is {is_so!r} and should be {should_be!r}"
    for entry in message.history:
        yield from _time_faults(entry)


def _time_faults(entry: Entry) -> Iterator[str]:
    """Compared in London time: conversion from UTC is unambiguous, and the way back is not."""
    source = "service" if entry.status in OURS else "iovox"
    if entry.source != source:
        yield f"{entry.status} comes from {entry.source} and should come from {source}"
    if entry.source != "iovox":
        return
    if entry.receipt_timestamp != f"{entry.at.astimezone(LONDON):%Y-%m-%d %H:%M:%S}":
        yield f"{entry.status} at {entry.at} UTC is not {entry.receipt_timestamp} in London"
    if entry.time_quality != _quality(entry.at):
        yield f"{entry.status} has a time that is {entry.time_quality}, not {_quality(entry.at)}"
    if entry.times_seen != 1:
        yield f"{entry.status} was seen {entry.times_seen} times and should have been once"


def _quality(at: datetime) -> str:
    """``repeated`` in the two hours a year that London's clocks call by the same name."""
    wall = at.astimezone(LONDON).replace(tzinfo=None)
    readings = {wall.replace(tzinfo=LONDON, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return "exact" if len(readings) == 1 else "repeated"
