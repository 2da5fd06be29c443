"""Rival (b): FastAPI that validates a receipt, or an empty message or GET, and does nothing."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Receipt(BaseModel):
    sms_activity_id: str
    status: str
    delivery_status: str | None = None
    status_reason: str | None = None
    receipt_timestamp: str | None = None


class Message(BaseModel):
    origin: str
    destination: str
    message: str


@app.get("/healthz")
async def healthz() -> None:
    return None


@app.post("/dlr")
async def receive(receipt: Receipt) -> None:
    return None


@app.post("/v1/messages")
async def send(message: Message) -> None:
    return None


@app.get("/v1/messages/{message_id}")
async def look_up(message_id: str) -> None:
    return None
