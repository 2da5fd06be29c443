"""Two replicas of the service behind nginx."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.service import Service
from tests.support.nginx import Nginx, program


@pytest.fixture
def nginx_is_there() -> None:
    """Skips the test without nginx, before anything else is started."""
    program()


@pytest_asyncio.fixture
async def replicas(
    nginx_is_there: None, tmp_path: Path, postgres_url: str
) -> AsyncIterator[list[Service]]:
    """Two, running, with a spool each, as on two machines."""
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    services = [Service(folder, postgres_url) for folder in folders]
    try:
        await asyncio.gather(*(service.fork() for service in services))
        yield services
    finally:
        for service in services:
            sys.stdout.write(service.output()[-3_000:])  # shown where the test has failed
            service.close()


@pytest.fixture
def nginx(replicas: list[Service]) -> Iterator[Nginx]:
    with Nginx([service.port for service in replicas]) as nginx:
        yield nginx
