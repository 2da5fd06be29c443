"""`python -m bench.plain DEVICE serve ...`: the service with one device done the plain way.

Each function replaces a device by what one would write without it: correct, with the same
responses, and simply not as fast. `bench.ablation` says what each device is.
"""

# ruff: noqa: SLF001

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from uvicorn import Server

from app import cli, main
from app.model import numbers, receipt
from app.parts import batcher
from app.receive import endpoint, inbox, tally
from app.send import sender
from app.server import process
from app.store import compiled, engine, history, ids, keys, messages, receipts, recording
from app.store.connections import asyncpg_pool
from app.store.meeting import binding, postgresql
from app.web import caller
from app.web import observed as observed_requests


def complete_requests() -> None:
    """Every receipt is an ASGI call, with a task of its own."""
    _set(main.Service, "complete_posts", {})


def quiet_iterations() -> None:
    """A batch starts in the next iteration of the event loop."""
    _set(batcher, "QUIET_ITERATIONS", 0)
    (batcher.Batcher.__init__.__kwdefaults__ or {})["quiet_iterations"] = 0


def second_writer() -> None:
    """One batch of a kind at a time."""
    _set(engine.Database, "writes_at_once", property(lambda _: 1))


def min_concurrent() -> None:
    """Whatever has arrived is committed beside the batch under way."""
    _set(inbox, "MIN_CONCURRENT", 1)


def remembered_meanings() -> None:
    """A receipt's texts are read each time."""
    _set(receipt, "_cached_content", receipt._cached_content.__wrapped__)


def of_each_one() -> None:
    """One form of RECEIVE for batches that repeat an id and for those that do not."""
    _set(postgresql, "RECEIVE_DISTINCT_IDS", postgresql.RECEIVE_WITHOUT_BIND)


def alone() -> None:
    """RECEIVE in a transaction of three round trips, whether or not BIND has anything to do."""

    async def add(self: Any, batch: Any, now: Any) -> Any:
        async with self._database.direct() as connection:
            return await self._add_and_bind(connection, receipts._rows(batch), now)

    _set(receipts.ReceiptStore, "_add_directly", add)


def receipts_directly() -> None:
    """Batches of receipts by SQLAlchemy."""

    async def add(self: Any, batch: Any, now: datetime) -> Any:
        async with self._database.write() as connection:
            return await receipts._receive(connection, batch, now)

    _set(receipts.ReceiptStore, "_add_directly", add)


def reset_query() -> None:
    """asyncpg's pool resets each connection that is released."""
    _set(asyncpg_pool, "_reset_nothing", None)


def accept() -> None:
    """MEET and BIND for every acceptance."""
    _set(messages, "accept_directly", binding.meet_and_bind_directly)


def sends_directly() -> None:
    """Records and acceptances by SQLAlchemy."""

    async def add(self: Any, new: Any) -> list[bool]:
        async with self._database.write(patience=messages.PATIENCE) as connection:
            recorded = await recording.record(connection, new, datetime.now(UTC))
        return [one.message.id in recorded for one in new]

    async def bind(self: Any, batch: Any) -> dict[UUID, str]:
        async with self._database.write(patience=messages.PATIENCE) as connection:
            return await binding.meet_and_bind(connection, batch, datetime.now(UTC))

    _set(messages.MessageStore, "add", add)
    _set(messages.MessageStore, "_bind", bind)


def compiled_lookups() -> None:
    """Lookups, of messages and of keys, by SQLAlchemy."""

    async def rows(self: Any, values: Any, *, patience: float) -> Sequence[Any]:
        async with self._database.read(patience=patience) as connection:
            found: Sequence[Any] = (await connection.execute(self._query, values)).all()
            return found

    _set(compiled.Compiled, "rows", rows)


def grouped_lookups() -> None:
    """A query for each lookup."""

    async def find(self: Any, name: str) -> Any:
        return (await self.find_all([name]))[0]

    _set(history.HistoryStore, "find", find)


def grouped_keys() -> None:
    """A query for each key."""

    async def find(self: Any, digest: bytes) -> Any:
        return (await self._find_all([digest]))[0]

    _set(keys.KeyStore, "find", find)


def trusted_keys() -> None:
    """The key is looked up for each request."""
    _set(caller, "TRUSTED_FOR", 0.0)


def remembered_numbers() -> None:
    """Each phone number is parsed."""
    _set(numbers, "_e164", numbers._e164.__wrapped__)


def small_ones() -> None:
    """Python's own UUIDs, and JSON by the decoder's `decode`."""
    new_id = ids.new_id
    for module in (endpoint, sender):
        _set(module, "new_id", lambda: UUID(bytes=new_id().bytes))
    _set(endpoint, "id_of", UUID)

    def parse(body: bytes) -> object:
        encoding = json.detect_encoding(body)
        return receipt._decoder.decode(body.decode(encoding, "surrogateescape"))

    _set(receipt, "_parse", parse)


def rare_collections() -> None:
    """Garbage is collected as often as Python does by default."""
    _set(process, "OBJECTS_A_COLLECTION", gc.get_threshold()[0])


def frozen_garbage() -> None:
    """The collector scans the objects from the start as well."""
    _set(process.GracefulServer, "startup", Server.startup)


def journal() -> None:
    """What is acknowledged is in the database alone."""
    os.environ["DLR_JOURNAL_FOR"] = "0"


def metrics_and_logs() -> None:
    """Receipts are neither counted, nor timed, nor logged."""
    _set(tally.Tally, "taken", lambda *_: None)


def lines_of_steps() -> None:
    """Messages' steps are not logged."""
    os.environ["DLR_LOG_LEVEL"] = "warning"


def observed() -> None:
    """Requests but those of /dlr are neither counted nor timed, and have no id."""

    async def serve(_self: object, app: Any, scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    _set(observed_requests.ObservedRequests, "serve", serve)


def nothing() -> None:
    """The service as it is: by how much two servers of the same program differ is noise."""


DEVICES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        nothing, complete_requests, quiet_iterations, second_writer, min_concurrent,
        remembered_meanings, of_each_one,
        alone, receipts_directly, reset_query, accept, sends_directly, compiled_lookups,
        grouped_lookups, grouped_keys, trusted_keys, remembered_numbers, small_ones,
        rare_collections, frozen_garbage, journal, metrics_and_logs, lines_of_steps, observed,
    )
}  # fmt: skip


def _set(holder: object, name: str, value: object) -> None:
    if not hasattr(holder, name):
        raise AttributeError(f"{holder} has no {name}: the device has changed")
    setattr(holder, name, value)


if __name__ == "__main__":
    DEVICES[sys.argv[1]]()
    cli.main(sys.argv[2:])
