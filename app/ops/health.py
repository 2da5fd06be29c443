"""``/healthz``, ``/readyz`` and ``/metrics``. Public, without private data."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from app.errors import Unavailable
from app.ops.gauges import Gauges
from app.ops.metrics import Metrics
from app.parts.shared import Shared
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch
from app.web.problems import Responses
from app.web.state import from_state

router = APIRouter(tags=["operations"])


class Liveness(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether everything works. A degraded service still accepts receipts at /dlr."""

    status: Literal["ready", "degraded"]
    reasons: list[str]
    spooled: int | None = Field(
        description="Receipts in the spool, not yet in the database; null if the spool "
        "cannot be read, or the process has none"
    )


RENDER_EVERY = 0.05
"""Seconds between two renderings of the metrics, each of which takes milliseconds."""

Watch = Annotated[DatabaseWatch, from_state("watch")]
Spool = Annotated[SpoolQueue | None, from_state("spool")]
State = Annotated[Gauges, from_state("gauges")]

_NOT_READY: Responses = {503: {"model": Readiness, "description": "Degraded, with the reasons"}}
_COUNTERS: Responses = {
    200: {
        "description": "Prometheus' text format, version 0.0.4",
        "content": {
            "text/plain": {"example": "# TYPE dlr_database_up gauge\ndlr_database_up 1.0\n"}
        },
    }
}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Whether the process is alive")
async def healthz() -> Liveness:
    """200 while the process is alive, whether or not the database is available."""
    return Liveness()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Whether everything works", responses=_NOT_READY)
async def readyz(watch: Watch, spool: Spool, gauges: State, response: Response) -> Readiness:
    """503 with the reasons while degraded. /dlr still accepts receipts: keep routing to it."""
    reasons = []
    depth = None
    await watch.check_if_old()
    if watch.public_reason is not None:
        reasons.append(f"database: {watch.public_reason}")
    if spool is not None:
        try:
            depth = await spool.depth()
        except Unavailable:
            reasons.append("spool: it cannot be read; the log says why")
        else:
            if spool.reason is not None:
                reasons.append(f"spool: {spool.reason}")
            elif gauges.spool.has_little_room:
                reasons.append("spool: its disk is nearly full")
    response.status_code = 503 if reasons else 200
    return Readiness(status="degraded" if reasons else "ready", reasons=reasons, spooled=depth)


@router.head("/metrics", include_in_schema=False)
@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses=_COUNTERS,
)
async def prometheus(
    exposition: Annotated[Shared[bytes], from_state("exposition")],
) -> Response:
    """The metrics of all processes of this server, in Prometheus' text format."""
    return Response(await exposition.get(), media_type="text/plain; version=0.0.4")


def exposition(*, gauges: Gauges, metrics: Metrics) -> Shared[bytes]:
    """The text of the metrics, made once for all who ask within RENDER_EVERY.

    Rendered for each request, it would let anybody who pipelines requests occupy the process.
    """

    async def render() -> bytes:
        await gauges.refresh()
        return metrics.render()

    return Shared(render, every=RENDER_EVERY)
