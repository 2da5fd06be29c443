"""Devices for speed that were taken out, and what they had brought: a record, not measured here."""

from __future__ import annotations

from bench.report import Section
from bench.stage import Stage

NOTE = (
    "Taken out in November 2026, the smallest first; each has a commit of its own. What they "
    "brought was measured like the devices above or, where that showed nothing but noise, by "
    "calling the function alone. More were taken out and put back. With all small ones gone a "
    "receipt cost the service 19 % more CPU, 2.5 times that of (c): asyncpg's UUIDs, times as "
    "microseconds and raw_decode are most of that. The wait for quiet brings receipts 1 %, but "
    "lookups 6 %. Keys trusted for 50 ms bring sends 6 %. Named tuples instead of dataclasses cost "
    "no lines, and the one encoding of an event for all its streams is one line."
)

REMOVED = (
    ("the batcher's alarm, a timer that is seldom set", "50", "receipt", "0.9 % of CPU"),
    ("one timer for all deadlines of sends", "46", "send", "5 µs, 1 % of CPU"),
    ("one timer for all bodies", "35", "receipt in pieces", "2.6 % of CPU"),
    ("the empty 200 kept for a second", "18", "receipt", "0.3 µs, 0.5 % of CPU"),
    ("the usual id and status known at a glance", "14", "receipt", "0.14 µs, 0.2 % of CPU"),
    ("iovox's usual answer by a regular expression", "8", "send", "6.8 µs, 1.0 % of CPU"),
    ("RECORD_ONLY for messages without key and event", "8", "send", "0.6 % of CPU"),
    ("bounds for a second batch of sends", "8", "send", "nothing: -1.3 % of CPU"),
    ("statements planned once, force_generic_plan", "8", "all", "0.4 %, -3 %, -1 % of CPU"),
    ("readings of London time remembered", "3", "receipt", "nothing beside the meanings"),
)


def list_removed(_stage: Stage) -> Section:
    """The table."""
    return Section(
        title="Devices that were taken out",
        note=NOTE,
        columns=("device", "lines", "journey", "brought"),
        rows=[list(row) for row in REMOVED],
    )
