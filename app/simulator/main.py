"""The composition root of the simulator: one ASGI app with all of its state."""

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
from app.simulator.receipts import ReceiptSender
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
    """The simulator's app. Without ``username`` or ``secure_key`` any non-empty value is accepted.

    ``clock`` dates the receipts; it returns aware times.
    """
    behaviour = behaviour or Behaviour()
    ledger = Ledger()
    receipt_sender = ReceiptSender(behaviour)
    closing = asyncio.Event()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await receipt_sender.stop()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.closing = closing
    endpoint = SmsEndpoint(
        credentials={"username": username, "securekey": secure_key},
        behaviour=behaviour,
        ledger=ledger,
        receipt_sender=receipt_sender,
        clock=clock,
        closing=closing,
    )
    # An object is served as plain ASGI, with every method; add_route is typed for functions only.
    app.add_route("/SMS", cast("Any", endpoint))
    add_control_routes(app, behaviour=behaviour, ledger=ledger, receipt_sender=receipt_sender)
    return app
