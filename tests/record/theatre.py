"""Several processes of the service in one event loop, an iovox that answers when it is told, and a
database that can be set back: everything that the stateful test plays with.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from app.errors import Conflict, NotSent, OutcomeUnknown, Refused, ServiceError
from app.model.audit import Actor
from app.model.message import Request, Submission
from app.model.receipt import Arrival
from app.model.status import Status
from app.runtime.runtime import Runtime
from app.send.idempotency import KeyedBody
from app.settings import Settings
from app.store.ids import new_id

TEXT = Request("447923221231", "447700900105", "a text")
CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)
QUIET = 0.002
PATIENCE = 1_000

TESTER = Actor("os:tester@here")


class Killed(BaseException):
    """The process does nothing more."""


@dataclass
class Asked:
    """A request that iovox was sent and has not answered."""

    message_id: UUID
    process: Process
    answer: asyncio.Future[str]


class Iovox:
    """Counts what is written to it."""

    def __init__(self) -> None:
        self.texts: Counter[UUID] = Counter()
        self.asked: list[Asked] = []
        self.accepted: dict[UUID, str] = {}

    def client_of(self, process: Process) -> Any:
        return _Client(self, process)


class _Client:
    """In place of ``IovoxClient``."""

    max_duration = 5.0

    def __init__(self, iovox: Iovox, process: Process) -> None:
        self._iovox = iovox
        self._process = process

    async def send(self, submission: Submission, *, throttle: Callable[[], Awaitable[None]]) -> str:
        self._process.require_alive()
        await throttle()
        self._process.require_alive()
        asked = Asked(
            submission.message_id, self._process, asyncio.get_running_loop().create_future()
        )
        self._iovox.asked.append(asked)
        answer = await asked.answer
        self._process.require_alive()
        match answer:
            case "not sent":
                raise NotSent("no connection", reached=False)
            case "lost":
                raise OutcomeUnknown("no answer")
            case "refused":
                raise Refused("no")
        return answer

    async def aclose(self) -> None:
        pass


class Process:
    """One process: all of the runtime but its HTTP server and its timers."""

    def __init__(self, theatre: Theatre, folder: Path) -> None:
        self.theatre = theatre
        self.folder = folder
        self.is_alive = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.runtime: Runtime

    def require_alive(self) -> None:
        if not self.is_alive:
            raise Killed

    def run(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """As this process: every task that comes of it is its own."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)

    async def start(self) -> None:
        self.runtime = Runtime(
            Settings.model_validate(
                {
                    "database_url": self.theatre.url,
                    "database_pool": 4,
                    "spool_dir": self.folder,
                    "public_url": "http://127.0.0.1:9",
                    "callback_url_headers": "X-Secret: a-secret-of-the-tests",
                    "iovox_url": "http://127.0.0.1:9",
                    "iovox_username": "someone",
                    "iovox_secure_key": "a-key",
                }
            )
        )
        self.is_alive = True
        self.runtime.submitter._client = self.theatre.iovox.client_of(self)
        self.runtime.spool.open()
        await self.run(self.runtime.watch.check_now())
        await self.beat()

    async def beat(self) -> None:
        """What happens every second."""
        for _ in range(3):
            with suppress(ServiceError):  # a beat may be missed, as on a machine that is very busy
                await self.run(self.runtime.keeper._tick())
            checking = self.runtime.keeper._checking
            if checking is not None:
                await asyncio.wait({checking})
            if self.runtime.journal.is_checked:
                return

    async def kill(self) -> None:
        """SIGKILL: the kernel closes what it had, and nobody hears of it again."""
        self.is_alive = False
        journal, keeper = self.runtime.journal, self.runtime.keeper
        journal.close()
        for asked in [one for one in self.theatre.iovox.asked if one.process is self]:
            self.theatre.iovox.asked.remove(asked)
            asked.answer.set_result("lost")
        for _ in range(PATIENCE):  # a transaction that is cancelled half-way may keep its lock,
            if not self.runtime.database.connections_in_use:
                break  # which a kernel would take from a process that it has killed
            await asyncio.sleep(QUIET)
        while self.tasks:
            await asyncio.wait(set(self.tasks), timeout=0.05)
            for task in self.tasks:
                task.cancel()
        if keeper._file_lock is not None:
            keeper._file_lock.release()
        await self.runtime.spool.close()
        await self.runtime.database.close()
        await self.runtime.intake.close()


@dataclass
class Theatre:
    """What was acknowledged, and what may not be true of it in the end."""

    url: str
    folder: Path
    iovox: Iovox = field(default_factory=Iovox)
    processes: list[Process] = field(default_factory=list)
    receipts: set[UUID] = field(default_factory=set)
    sids: dict[UUID, str] = field(default_factory=dict)
    messages: set[UUID] = field(default_factory=set)
    submitted: dict[UUID, str] = field(default_factory=dict)
    cancelled: set[UUID] = field(default_factory=set)
    keys: dict[str, set[tuple[UUID, ...]]] = field(default_factory=dict)
    pending: set[asyncio.Task[Any]] = field(default_factory=set)

    def install(self) -> None:
        """Every task belongs to the process that made it."""

        def make(
            loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
        ) -> asyncio.Task[Any]:
            task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
            context = options.get("context")
            process = context.get(CURRENT) if context is not None else CURRENT.get()
            if process is not None:
                process.tasks.add(task)
                task.add_done_callback(process.tasks.discard)
            return task

        asyncio.get_running_loop().set_task_factory(make)

    @property
    def alive(self) -> list[Process]:
        return [one for one in self.processes if one.is_alive]

    async def add(self) -> None:
        process = Process(self, self.folder / f"process-{len(self.processes)}")
        self.processes.append(process)
        await process.start()

    async def settle(self) -> None:
        """Return when everything waits for iovox, or for the next beat."""
        quiet = 0
        while quiet < 4:
            before = len(self.iovox.asked), len(self.pending), self._tasks()
            await asyncio.sleep(QUIET)
            quiet = (
                quiet + 1
                if before == (len(self.iovox.asked), len(self.pending), self._tasks())
                else 0
            )

    def _tasks(self) -> int:
        return sum(len(one.tasks) for one in self.processes)

    # --- what callers do; each notes what it is told

    def send(self, process: Process, key: str | None, *, queued: bool) -> None:
        self._begin(process, self._send(process, key, queued=queued))

    def batch(self, process: Process, size: int, key: str | None) -> None:
        self._begin(process, self._batch(process, size, key))

    def receive(self, process: Process, hint: UUID | None) -> None:
        self._begin(process, self._receive(process, hint))

    def cancel(self, process: Process, message_id: UUID) -> None:
        self._begin(process, self._cancel(process, message_id))

    def _begin(self, process: Process, work: Coroutine[Any, Any, None]) -> None:
        task = process.run(work)
        self.pending.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.pending.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ServiceError | Killed):
            self.failures.append(error)

    failures: list[BaseException] = field(default_factory=list)

    async def _send(self, process: Process, key: str | None, *, queued: bool) -> None:
        keyed = KeyedBody(key, b"send") if key else None
        result = await process.runtime.sender.send("billing", TEXT, keyed, queued=queued)
        process.require_alive()
        told = result.submitted
        self.messages.add(told.message_id)
        if key:
            self.keys.setdefault(key, set()).add((told.message_id,))
        if told.status is Status.SUBMITTED and told.sms_activity_id:
            self.submitted[told.message_id] = told.sms_activity_id

    async def _batch(self, process: Process, size: int, key: str | None) -> None:
        keyed = KeyedBody(key, b"batch") if key else None
        fields = {"origin": TEXT.origin, "destination": TEXT.destination, "message": "in a batch"}
        result = await process.runtime.sender.send_batch("billing", [fields] * size, keyed)
        process.require_alive()
        ids = tuple(item.id for item in result.response.messages if item.id is not None)
        self.messages.update(ids)
        if key:
            self.keys.setdefault(key, set()).add(ids)

    async def _receive(self, process: Process, hint: UUID | None) -> None:
        sid = uuid4().hex if hint is None else self.iovox.accepted.setdefault(hint, uuid4().hex)
        body = (
            f'{{"sms_activity_id": "{sid}", "status": "DELIVERED", "status_reason": "{uuid4()}"}}'
        )
        arrival = Arrival(new_id(), datetime.now(UTC), body.encode(), hint)
        await process.runtime.inbox.accept(arrival)
        process.require_alive()
        self.receipts.add(arrival.id)

    async def _cancel(self, process: Process, message_id: UUID) -> None:
        try:
            await process.runtime.sender.cancel(None, message_id, actor=TESTER)
        except Conflict:
            return
        process.require_alive()
        self.cancelled.add(message_id)
