from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .receiver import Json, Receiver, receiving
from .world import World, serving


@pytest.fixture(scope="module")
def settings() -> Json:
    """What the module's service is started with; to be overridden."""
    return {}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(shared_url: str, settings: Json) -> AsyncIterator[World]:
    """One service for all tests of a module, which keep apart by the names of their apps."""
    async with serving(shared_url, **settings) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def world(service: World) -> AsyncIterator[World]:
    """The module's service, with names of apps that no other test has."""
    mine = service.with_own_names()
    yield mine
    await mine.forget_webhooks()


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks that takes everything."""
    async with receiving() as started:
        yield started
