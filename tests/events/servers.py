"""The service as users run it: processes that share a database and can be killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support.front import in_front_of
from tests.support.process import ServerProcess, free_port

from .world import SECRET


class Replica:
    """One server process."""

    def __init__(self, process: ServerProcess, url: str) -> None:
        self.process = process
        self.url = url
        self.client = httpx.AsyncClient(
            base_url=url,
            trust_env=False,
            timeout=30,
            limits=httpx.Limits(max_connections=2_000, max_keepalive_connections=50),
        )


@asynccontextmanager
async def replica(
    database_url: str, *, workers: int = 1, port: int | None = None, **settings: object
) -> AsyncIterator[Replica]:
    """A server process over a migrated database; ``settings`` are DLR_ variables."""
    port = port or free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "DLR_DATABASE_URL": database_url,
        "DLR_PUBLIC_URL": url,
        "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,X-Secret: {SECRET}",
        "DLR_IOVOX_URL": "http://127.0.0.1:9",
        "DLR_IOVOX_USERNAME": "someone",
        "DLR_IOVOX_SECURE_KEY": "a-key",
    } | {f"DLR_{name.upper()}": str(value) for name, value in settings.items()}
    args = ["serve", "--port", str(port), "--workers", str(workers)]
    process = await asyncio.to_thread(ServerProcess.fork, args, env, f"{url}/healthz")
    started = Replica(process, f"http://127.0.0.1:{in_front_of(port)}")
    try:
        yield started
    finally:
        await started.client.aclose()
        await asyncio.to_thread(process.close)
