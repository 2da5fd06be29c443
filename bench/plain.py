"""`python -m bench.plain DEVICE serve ...`: the service with one device done the plain way.

Each function replaces a device by what one would write without it: correct, with the same answers,
and simply not as fast. For `bench.ablation`, which says what each device is.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import uuid_utils
from uvicorn import Server

from app import cli, main
from app.iovox import xml
from app.model import london, receipt
from app.parts import batcher
from app.receive import bodies, inbox
from app.send import batches, recorder, requests, submitter
from app.server import process, protocol
from app.store import compiled, engine, history, ids, keys, messages, receipts, recording
from app.store.connections import asyncpg_pool
from app.store.meeting import binding, postgresql
from app.web import caller


def whole_calls() -> None:
    """Every receipt is an ASGI call, a task of its own."""
    main.Service.complete_posts = {}  # type: ignore[assignment, method-assign]


def empty_200() -> None:
    """The answer is put together each time."""
    answered = protocol.GracefulHttp.answered

    def answer(self: Any, call: Any, status: int, headers: Any, body: bytes) -> None:
        protocol._Built.of = None
        answered(self, call, status, headers, body)

    _set(protocol.GracefulHttp, "answered", answer)


class _Timer:
    """An Alarm by a timer of the event loop for each setting."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        self.stop()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._ring)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    close = stop


def alarms() -> None:
    """The batcher sets and cancels a timer."""
    _set(batcher, "Alarm", _Timer)


class _Timers:
    """Deadlines by a timer for each."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def watch(self, future: asyncio.Future[Any]) -> None:
        def expire() -> None:
            if not future.done():
                future.set_exception(TimeoutError())

        timer = asyncio.get_running_loop().call_later(self._seconds, expire)
        future.add_done_callback(lambda _: timer.cancel())


def deadlines() -> None:
    """Each wait for the database has a timer."""
    _set(recorder, "Deadlines", _Timers)
    _set(submitter, "Deadlines", _Timers)


def _by_timeouts() -> None:
    async def read(self: Any, receive: Any) -> bytes:
        async with asyncio.timeout(self._patience):
            body: bytes = await self._read(receive)
        return body

    _set(bodies.BodyReader, "read", read)


def body_timer() -> None:
    """On the way of receipts that do not come whole: a time-out for each body."""
    whole_calls()
    _by_timeouts()


def quiet_turns() -> None:
    """A batch starts in the next turn of the event loop."""
    (batcher.Batcher.__init__.__kwdefaults__ or {})["quiet_turns"] = 0


def second_writer() -> None:
    """One batch of a kind at a time."""
    _set(engine.Database, "writes_at_once", property(lambda _: 1))


def enough() -> None:
    """Whatever came starts beside the batch that is being written."""
    _set(inbox, "ENOUGH", 1)


def enough_sends() -> None:
    """The same of a send's batches."""
    _set(submitter, "BESIDE", 1)
    (batches.early.__kwdefaults__ or {})["enough"] = 1


def remembered_meanings() -> None:
    """A receipt's texts are read each time."""
    _set(receipt, "_lasting_meaning", receipt._lasting_meaning.__wrapped__)


def remembered_readings() -> None:
    """A time is read each time; meanings are remembered as ever."""
    _set(london, "read", london.read.__wrapped__)
    _set(receipt, "read", london.read)


def remembered_both() -> None:
    """Neither is remembered."""
    remembered_readings()
    remembered_meanings()


def usual_receipts() -> None:
    """Every receipt is looked at for faults."""
    _set(receipt, "_is_usual", lambda *_: False)


def raw_decode() -> None:
    """JSON by the decoder's own `decode`, in whichever encoding it is."""
    import json  # noqa: PLC0415

    def parse(body: bytes) -> object:
        return receipt._decoder.decode(body.decode(json.detect_encoding(body), "surrogateescape"))

    _set(receipt, "_parse", parse)


def microseconds() -> None:
    """Times go to PostgreSQL as times."""
    for name in ("RECEIVE", "RECEIVE_ALONE", "RECEIVE_ALONE_OF_EACH_ONE"):
        text = getattr(postgresql, name)
        text = re.sub(r"timestamptz 'epoch' \+ (\w+) \* interval '1 microsecond'", r"\1", text)
        text = text.replace("$6::bigint[], $7::bigint[]", "$6::timestamptz[], $7::timestamptz[]")
        _set(postgresql, name, text)

    def columns(batch: Sequence[Any]) -> Any:
        rows = [
            (c.id, sid, m.digest, m.status, m.key, m.at, c.received_at, c.body, c.hint, m.flag,
             m.delivery_status, m.status_reason, m.receipt_timestamp, m.time_quality)
            for c, sid, m in batch
        ]  # fmt: skip
        return tuple(list(column) for column in zip(*rows, strict=True))

    _set(receipts, "_columns", columns)


def of_each_one() -> None:
    """One form of RECEIVE for batches that repeat an id and for those that do not."""
    postgresql.RECEIVE_ALONE_OF_EACH_ONE = postgresql.RECEIVE_ALONE


def alone() -> None:
    """RECEIVE in a transaction of three round trips, whether or not BIND has anything to do."""

    async def add(self: Any, batch: Any, now: Any) -> Any:
        async with self._database.direct() as connection:
            return await self._add_and_bind(connection, receipts._columns(batch), now)

    _set(receipts.ReceiptStore, "_add_directly", add)


def driver_ids() -> None:
    """Python's own UUIDs."""
    _both(ids, "new_id", lambda: UUID(bytes=uuid_utils.uuid7().bytes))
    _both(ids, "id_of", UUID)


def plan_once() -> None:
    """PostgreSQL plans as it sees fit."""
    _set(engine, "_PLAN_ONCE", {})


def reset_query() -> None:
    """asyncpg's pool resets each connection that comes back."""
    _set(asyncpg_pool, "_reset_nothing", None)


def remembered_numbers() -> None:
    """Each number is read."""
    _set(requests, "_e164", requests._e164.__wrapped__)


def record_only() -> None:
    """One statement for messages with and without key and event."""

    async def record(connection: Any, new: Any, now: datetime) -> set[UUID]:
        rows = await connection.fetch(recording.RECORD, *recording.record_arguments(new, now))
        return {row[0] for row in rows}

    _set(messages, "record_directly", record)


def accept() -> None:
    """MEET and BIND for every acceptance."""
    _set(messages, "accept_directly", binding.meet_and_bind_directly)


def usual_answer() -> None:
    """Every answer of iovox goes through the XML parser."""
    _set(xml, "_USUAL", re.compile(rb"(?!)"))


def own_xml() -> None:
    """Requests to iovox by ElementTree."""

    def build(submission: Any, *, callback_url: str, callback_url_headers: str) -> bytes:
        texts = {
            "origin": submission.origin,
            "destination": submission.destination,
            "message": submission.text,
            "callback_url": callback_url or None,
            "callback_url_headers": callback_url_headers or None,
            "expiry": None if submission.expiry is None else str(submission.expiry),
            "c2c_failover_link_id": submission.c2c_failover_link_id or None,
        }
        request = ElementTree.Element("request")
        for name, text in texts.items():
            if text is not None:
                ElementTree.SubElement(request, name).text = text
        built = ElementTree.tostring(request, "unicode").replace("\r", "&#13;")
        if xml._FORBIDDEN.search(built):
            raise ValueError(xml._fault_in(texts))
        return (xml._DECLARATION + built).encode()

    from app.iovox import client  # noqa: PLC0415

    _set(client, "build_request", build)


def compiled_lookups() -> None:
    """Lookups, and of keys, by SQLAlchemy."""

    async def rows(self: Any, values: Any, *, patience: float) -> Sequence[Any]:
        async with self._database.read(patience=patience) as connection:
            found: Sequence[Any] = (await connection.execute(self._query, values)).all()
            return found

    _set(compiled.Compiled, "rows", rows)


def receipts_directly() -> None:
    """Batches of receipts by SQLAlchemy."""

    async def add(self: Any, batch: Any, now: datetime) -> Any:
        async with self._database.write() as connection:
            return await receipts._receive(connection, batch, now)

    _set(receipts.ReceiptStore, "_add_directly", add)


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


def grouped_lookups() -> None:
    """A statement for each lookup."""

    async def find(self: Any, name: str) -> Any:
        return (await self.find_all([name]))[0]

    _set(history.HistoryStore, "find", find)


def grouped_keys() -> None:
    """A statement for each key, where it is looked up."""

    async def find(self: Any, digest: bytes) -> Any:
        return (await self._find_all([digest]))[0]

    _set(keys.KeyStore, "find", find)


def trusted_keys() -> None:
    """The key is looked up for each request; requests of one moment share that."""
    caller.TRUSTED_FOR = 0.0


def keys_alone() -> None:
    """The key is looked up for each request, by a statement of its own."""
    trusted_keys()
    grouped_keys()


def frozen_garbage() -> None:
    """The collector looks through what was there at the start as well."""
    _set(process.GracefulServer, "startup", Server.startup)


def nothing() -> None:
    """The service as it is: what the figures differ by then is noise."""


DEVICES: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        nothing, whole_calls, empty_200, alarms, deadlines, body_timer, quiet_turns, second_writer,
        enough, enough_sends, remembered_meanings, remembered_readings, remembered_both,
        usual_receipts, raw_decode, microseconds, of_each_one, alone, driver_ids, plan_once,
        reset_query, remembered_numbers, record_only, accept, usual_answer, own_xml,
        compiled_lookups, receipts_directly, sends_directly, grouped_lookups, grouped_keys,
        trusted_keys, keys_alone, frozen_garbage,
    )
}  # fmt: skip


def _set(holder: object, name: str, value: object) -> None:
    if not hasattr(holder, name):
        raise AttributeError(f"{holder} has no {name}: the device has changed")
    setattr(holder, name, value)


def _both(module: Any, name: str, value: object) -> None:
    """A function where it is defined, and wherever it was imported to."""
    old = getattr(module, name)
    for other in list(sys.modules.values()):
        if getattr(other, name, None) is old:
            setattr(other, name, value)


def run(device: str, arguments: list[str]) -> None:
    """Run the `dlr` command without the device."""
    DEVICES[device]()
    sys.argv = ["dlr", *arguments]
    cli.main()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
