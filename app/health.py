"""``/healthz``, ``/readyz`` and ``/metrics``. Open to whoever can reach us; nothing private."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app.errors import Unavailable
from app.metrics import Metrics
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch


def health_routes(*, watch: DatabaseWatch, spool: SpoolQueue, metrics: Metrics) -> APIRouter:
    """The routes for orchestrators and Prometheus."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="Whether the process lives")
    async def healthz() -> JSONResponse:
        """200 while the process lives, database up or not: receipts are taken either way."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz", summary="Whether everything works")
    async def readyz() -> JSONResponse:
        """503 with the reasons while degraded. /dlr still takes receipts then: send it traffic."""
        reasons = []
        depth = None
        await watch.check_if_old()
        if watch.reason is not None:
            reasons.append(f"database: {watch.reason}")
        try:
            depth = await spool.depth()
        except Unavailable as error:
            reasons.append(f"spool: {error.detail}")
        else:
            reasons += [f"spool: {spool.reason}"] if spool.reason is not None else []
        body = {"status": "degraded" if reasons else "ready", "reasons": reasons, "spooled": depth}
        return JSONResponse(body, status_code=503 if reasons else 200)

    @router.get("/metrics", summary="Counters for Prometheus")
    async def prometheus() -> Response:
        """The counters of this process, in Prometheus' text format."""
        metrics.database_up.set(1 if watch.is_up else 0)
        try:
            metrics.spool_depth.set(await spool.depth())
        except Unavailable:
            metrics.spool_depth.set(float("nan"))
        return Response(metrics.render(), media_type="text/plain; version=0.0.4")

    return router
