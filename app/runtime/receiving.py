"""Builds what receives: the endpoint of `/dlr`, the inbox behind it, the spool and its drainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.iovox.callback import CallbackHeaders
from app.ops.logs import StepLog
from app.ops.metrics import Metrics
from app.ops.recent import Recent
from app.parts.networks import read_networks
from app.receive.drainer import Drainer
from app.receive.endpoint import DlrEndpoint
from app.receive.inbox import Inbox
from app.receive.recorder import Recorder
from app.receive.spool import Spool
from app.receive.spool_queue import SpoolQueue
from app.receive.tally import Tally
from app.record.erased_lately import ErasedLately
from app.record.journal import Journal
from app.runtime.traces import Traces
from app.settings import Settings
from app.store.clock import Now
from app.store.receipts import ReceiptStore
from app.store.watch import DatabaseWatch
from app.web.addresses import Callers


@dataclass(frozen=True, slots=True)
class Receiving:
    """What was built."""

    spool: SpoolQueue
    inbox: Inbox
    drainer: Drainer
    dlr: DlrEndpoint


def build_receiving(
    settings: Settings,
    *,
    store: ReceiptStore,
    writers: int,
    watch: DatabaseWatch,
    journal: Journal,
    erased: ErasedLately,
    headers: CallbackHeaders,
    callers: Callers,
    announce: Callable[[], None],
    metrics: Metrics,
    recent: Recent,
    steps: StepLog,
    traces: Traces,
    now: Now,
) -> Receiving:
    """``writers``: batches that the database takes at once."""
    recorder = Recorder(
        store=store, metrics=metrics, announce=announce, journal=journal, erased=erased
    )
    spool = SpoolQueue(Spool(settings.spool_dir))
    inbox = Inbox(
        recorder=recorder,
        spool=spool,
        watch=watch,
        metrics=metrics,
        patience=settings.commit_timeout,
        writers=writers,
        erased=erased,
    )
    drainer = Drainer(
        spool=spool,
        recorder=recorder,
        watch=watch,
        metrics=metrics,
        lock=settings.spool_dir / "drain.lock",
    )
    dlr = DlrEndpoint(
        inbox=inbox,
        headers=headers,
        tally=Tally(metrics=metrics, recent=recent, steps=steps, tracer=traces.tracer),
        body_patience=settings.body_timeout,
        now=now,
        callers=callers,
        allowed=read_networks(settings.allowed_callers),
    )
    return Receiving(spool, inbox, drainer, dlr)
