"""Builds the facts of a batch, in the order in which they are appended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from uuid import UUID

from app.record.evidence.facts import REMOVALS_SUBJECT, FactWriter
from app.store.any_of import chunks
from app.store.evidence.appending import AppendTransaction, Batch
from app.store.evidence.rows import (
    AUDITED,
    LogRow,
    NewFact,
    PendingFact,
    subject_of,
    subject_of_entry,
)

BETWEEN_YIELDS = 100
"""Receipts whose facts are made before other tasks may run: about a millisecond."""


async def build_facts(
    transaction: AppendTransaction, log: LogRow, batch: Batch
) -> Sequence[NewFact]:
    """The facts that the batch's leaves do not have yet.

    What a message's chain lacks is found by comparing it with the message's row as it is now, so
    the facts do not depend on which event named the message.
    """
    owners = {one.message_id for one in batch.receipts if one.message_id is not None}
    ids = {*batch.messages, *owners, *(fact.message for fact in batch.pending if fact.message)}
    writer = await writer_for(transaction, log, map(subject_of, ids))
    # Of a message that is attached the log has everything but receipts.
    unattached = {id_ for id_ in ids if not writer.is_attached(id_)}
    messages = await transaction.messages(unattached)
    names = {
        one.sms_activity_id
        for one in batch.receipts
        if one.message_id is None or one.message_id in unattached
    }
    names |= {message.sms_activity_id for message in messages if message.sms_activity_id}
    writer.chains |= await transaction.chains(set(map(subject_of, names)))
    for message in messages:
        writer.add_message(message)
    for some in chunks(batch.receipts, BETWEEN_YIELDS):
        writer.add_receipts(some)
        await asyncio.sleep(0)
    await _add_pending(transaction, writer, batch.pending)
    return writer.leaves


async def writer_for(
    transaction: AppendTransaction, log: LogRow, subjects: Iterable[bytes]
) -> FactWriter:
    """A writer that knows the ends of these chains."""
    return FactWriter(log, await transaction.chains(set(subjects)))


async def _add_pending(
    transaction: AppendTransaction, writer: FactWriter, pending: Sequence[PendingFact]
) -> None:
    if not pending:
        return
    entries = {UUID(fact.fields["entry"]) for fact in pending if fact.type == AUDITED}
    writer.chains |= await transaction.chains({REMOVALS_SUBJECT, *map(subject_of_entry, entries)})
    for entry in await transaction.entries(entries):
        writer.add_entry(entry)
    for fact in pending:
        if fact.message is not None:
            writer.add_fact(subject_of(fact.message), fact.type, fact.fields)
        elif fact.type != AUDITED:
            writer.add_removal_fact(fact.type, fact.fields)
