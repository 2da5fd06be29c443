"""``/healthz``, ``/readyz`` and ``/metrics``. Open to whoever can reach us; nothing private."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.errors import Unavailable
from app.metrics import Metrics
from app.openapi import Json, Responses
from app.receive.spool_queue import SpoolQueue
from app.store.watch import DatabaseWatch


def health_routes(*, watch: DatabaseWatch, spool: SpoolQueue, metrics: Metrics) -> APIRouter:
    """The routes for orchestrators and Prometheus."""
    router = APIRouter(tags=["operations"])

    @router.get("/healthz", summary="Whether the process lives", responses=_LIVES)
    async def healthz() -> JSONResponse:
        """200 while the process lives, database up or not: receipts are taken either way."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz", summary="Whether everything works", responses=_WORKS)
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

    @router.get(
        "/metrics",
        summary="Counters for Prometheus",
        response_class=PlainTextResponse,
        responses=_COUNTERS,
    )
    async def prometheus() -> Response:
        """The counters of this process, in Prometheus' text format."""
        metrics.database_up.set(1 if watch.is_up else 0)
        try:
            metrics.spool_depth.set(await spool.depth())
        except Unavailable:
            metrics.spool_depth.set(float("nan"))
        return Response(metrics.render(), media_type="text/plain; version=0.0.4")

    return router


# What the OpenAPI document says of the routes.


def _json(description: str, properties: Json, example: Json) -> Json:
    schema = {
        "type": "object",
        "required": [*properties],
        "properties": properties,
        "additionalProperties": False,
    }
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _readiness(status: str) -> Json:
    return {
        "status": {"const": status},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "spooled": {
            "type": ["integer", "null"],
            "description": "Receipts on local disk that the database has not got yet; null where "
            "the disk cannot be read",
        },
    }


_LIVES: Responses = {200: _json("It lives", {"status": {"const": "ok"}}, {"status": "ok"})}
_WORKS: Responses = {
    200: _json("It does", _readiness("ready"), {"status": "ready", "reasons": [], "spooled": 0}),
    503: _json(
        "It does not, and why",
        _readiness("degraded"),
        {"status": "degraded", "reasons": ["database: cannot be reached"], "spooled": 12},
    ),
}
_COUNTERS: Responses = {
    200: {
        "description": "Prometheus' text format, version 0.0.4",
        "content": {
            "text/plain": {
                "schema": {"type": "string"},
                "example": "# TYPE dlr_database_up gauge\ndlr_database_up 1.0\n",
            }
        },
    }
}
