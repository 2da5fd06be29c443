"""The simulator put together: one ASGI app that keeps all of its state to itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from fastapi import FastAPI

from app.simulator.behaviour import Behaviour
from app.simulator.control import add_control_routes
from app.simulator.ledger import Ledger
from app.simulator.receipts import Courier
from app.simulator.sms import Clock, SmsEndpoint


def _now() -> datetime:
    return datetime.now(UTC)


def create_simulator(
    *,
    username: str | None = None,
    secure_key: str | None = None,
    behaviour: Behaviour | None = None,
    clock: Clock = _now,
) -> FastAPI:
    """A stand-in iovox. Without a username or a secure_key, any that is not empty will do.

    ``clock`` dates the receipts; it answers aware times.
    """
    behaviour = behaviour or Behaviour()
    ledger = Ledger()
    courier = Courier(behaviour)
    closing = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await courier.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.closing = closing
    endpoint = SmsEndpoint(
        credentials={"username": username, "securekey": secure_key},
        behaviour=behaviour,
        ledger=ledger,
        courier=courier,
        clock=clock,
        closing=closing,
    )
    # An object is mounted as bare ASGI and takes every method; the signature knows functions only.
    app.add_route("/SMS", cast("Any", endpoint))
    add_control_routes(app, behaviour=behaviour, ledger=ledger, courier=courier)
    return app
