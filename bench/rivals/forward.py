"""Rival (d): a send and nothing more. FastAPI validates it, asyncpg records it, aiohttp forwards
it, asyncpg notes the answer: no key, no deadlines, no retries, each statement by itself. What the
libraries cost whoever writes the service.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4
from xml.sax.saxutils import escape  # nosec B406

import aiohttp
import asyncpg
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel

CONNECTIONS = 8
"""Database connections, as many as the service has."""
KEPT_IDLE = 2
"""Seconds for a connection to iovox, as the service's. One that iovox just closes is a 500."""


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    url = os.environ["BENCH_DATABASE_URL"].replace("+asyncpg", "")
    async with (
        asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_IDLE)
        ) as session,
    ):
        await pool.execute(
            "create table if not exists forwarded (id uuid primary key, origin text, "
            "destination text, message text, at timestamptz default now(), answer text)"
        )
        app.state.pool, app.state.session = pool, session
        yield


app = FastAPI(lifespan=lifespan)


class Message(BaseModel):
    origin: str
    destination: str
    message: str


class Sent(BaseModel):
    id: str
    status: str


@app.get("/healthz")
async def healthz() -> None:
    return None


@app.post("/v1/messages", status_code=201)
async def send(message: Message, request: Request) -> Sent:
    pool, session = request.app.state.pool, request.app.state.session
    known_as = uuid4()
    await pool.execute(
        "insert into forwarded (id, origin, destination, message) values ($1, $2, $3, $4)",
        known_as, message.origin, message.destination, message.message,
    )  # fmt: skip
    headers = {
        "username": os.environ["BENCH_IOVOX_USERNAME"],
        "secureKey": os.environ["BENCH_IOVOX_SECURE_KEY"],
        "Content-Type": "application/xml",
    }
    nodes = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in message)
    url = f"{os.environ['BENCH_IOVOX_URL']}/SMS?v=3&method=sendSms"
    body = f"<request>{nodes}</request>".encode()
    async with session.post(url, data=body, headers=headers) as response:
        answer = await response.text()
        if response.status != 201:
            raise HTTPException(502, answer)
    await pool.execute("update forwarded set answer = $2 where id = $1", known_as, answer)
    return Sent(id=str(known_as), status="SUBMITTED")
