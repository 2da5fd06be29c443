"""``/_simulator/…``: the control API: received messages, counts, reset, behaviour."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from app.simulator.behaviour import Behaviour
from app.simulator.ledger import Accepted, Ledger
from app.simulator.receipts import ReceiptSender
from app.simulator.requests import read_body
from app.simulator.responses import RefusalError


def add_control_routes(
    app: FastAPI, *, behaviour: Behaviour, ledger: Ledger, receipt_sender: ReceiptSender
) -> None:
    """Add Starlette routes, without FastAPI's validation."""

    async def messages(_request: Request) -> Response:
        return JSONResponse({"messages": [_shown(entry, ledger) for entry in ledger.messages]})

    async def counts(request: Request) -> Response:
        totals = _totals(ledger, receipt_sender)
        return JSONResponse(totals if "brief" in request.query_params else totals | _by_id(ledger))

    async def reset(_request: Request) -> Response:
        await receipt_sender.drop()
        receipt_sender.outcomes.clear()
        ledger.clear()
        return Response(status_code=204)

    async def show_behaviour(_request: Request) -> Response:
        return JSONResponse(asdict(behaviour))

    async def change_behaviour(request: Request) -> Response:
        wanted = await _json_object(request)
        if wanted is None:
            return _errors({"body": "must be a JSON object"})
        problems = behaviour.change(wanted)
        return _errors(problems) if problems else JSONResponse(asdict(behaviour))

    app.add_route("/_simulator/messages", messages, methods=["GET"])
    app.add_route("/_simulator/counts", counts, methods=["GET"])
    app.add_route("/_simulator/reset", reset, methods=["POST"])
    app.add_route("/_simulator/behaviour", show_behaviour, methods=["GET"])
    app.add_route("/_simulator/behaviour", change_behaviour, methods=["POST"])


def _shown(entry: Accepted, ledger: Ledger) -> dict[str, object]:
    sent = entry.submission
    return {
        "sms_activity_id": entry.sms_activity_id,
        "x_message_id": sent.x_message_id,
        "origin": sent.origin,
        "destination": sent.destination,
        "message": sent.message,
        "expiry": sent.expiry,
        "c2c_failover_link_id": sent.c2c_failover_link_id,
        "callback_url": sent.callback_url,
        "received_at": entry.accepted_at.isoformat(),
        "times": ledger.accepted_by_id.get(sent.x_message_id or ""),
    }


def _totals(ledger: Ledger, receipt_sender: ReceiptSender) -> dict[str, object]:
    return {
        "requests": ledger.requests,
        "accepted": ledger.accepted,
        "repeated": ledger.repeated,
        "uncounted": ledger.uncounted,
        "receipts": {
            name: receipt_sender.outcomes[name]
            for name in ("posted", "accepted", "refused", "unanswered")
        },
        "pending": receipt_sender.pending,
    }


def _by_id(ledger: Ledger) -> dict[str, object]:
    return {
        "by_message_id": ledger.accepted_by_id,
        "attempts_by_message_id": ledger.attempts_by_id,
    }


async def _json_object(request: Request) -> dict[str, Any] | None:
    try:
        wanted = json.loads(await read_body(request.receive) or b"")
    except (ValueError, RecursionError, RefusalError):
        return None
    return wanted if isinstance(wanted, dict) else None


def _errors(problems: Mapping[str, str]) -> Response:
    found = [{"field": field, "message": message} for field, message in problems.items()]
    return JSONResponse({"errors": found}, status_code=400)
