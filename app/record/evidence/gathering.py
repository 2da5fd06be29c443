"""Makes the facts of what waits for the log, in the order in which they are appended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from app.record.evidence.facts import OF_REMOVALS, FactWriter
from app.store.any_of import chunks
from app.store.evidence.appending import Turn, Waiting
from app.store.evidence.rows import AUDITED, LogRow, NewFact, ToldFact, subject_of, subject_of_entry

IN_A_ROW = 100
"""Receipts for which facts are made before others have their turn: one millisecond."""


async def facts_of(turn: Turn, log: LogRow, waiting: Waiting) -> Sequence[NewFact]:
    """What is read of messages is what their rows say now, so no order of events is relied on."""
    owners = {one.message_id for one in waiting.receipts if one.message_id is not None}
    ids = {*waiting.messages, *owners, *(told.message for told in waiting.told if told.message)}
    writer = await writer_of(turn, log, map(subject_of, ids))
    # Of a message that is attached the log has everything but receipts.
    loose = {id_ for id_ in ids if not writer.is_attached(id_)}
    fresh = await turn.messages(loose)
    names = {
        one.sms_activity_id
        for one in waiting.receipts
        if one.message_id is None or one.message_id in loose
    }
    names |= {message.sms_activity_id for message in fresh if message.sms_activity_id}
    writer.chains |= await turn.chains(set(map(subject_of, names)))
    for message in fresh:
        writer.message(message)
    for some in chunks(waiting.receipts, IN_A_ROW):
        writer.receipts(some)
        await asyncio.sleep(0)
    await _write_told(turn, writer, waiting.told)
    return writer.leaves


async def writer_of(turn: Turn, log: LogRow, subjects: Iterable[bytes]) -> FactWriter:
    """A writer that knows how long these chains are."""
    return FactWriter(log, await turn.chains(set(subjects)))


async def _write_told(turn: Turn, writer: FactWriter, told: Sequence[ToldFact]) -> None:
    if not told:
        return
    entries = {UUID(fact.fields["entry"]) for fact in told if fact.type == AUDITED}
    writer.chains |= await turn.chains({OF_REMOVALS, *map(subject_of_entry, entries)})
    for entry in await turn.entries(entries):
        writer.entry(entry)
    for fact in told:
        if fact.message is not None:
            writer.of_message(subject_of(fact.message), fact.type, fact.fields)
        elif fact.type != AUDITED:
            writer.of_removals(fact.type, fact.fields)
