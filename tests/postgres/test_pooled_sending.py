from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.postgres.conftest import POOLED
from tests.send.conftest import iovox, service
from tests.send.test_batch import *
from tests.send.test_idempotency import *
from tests.send.test_schedule import *
from tests.send.test_send import *
from tests.send.world import Iovox, Service, World

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_url: str) -> AsyncIterator[tuple[Service, Iovox]]:
    async with AsyncExitStack() as stack:
        world = World(shared_url, stack)
        iovox = await world.iovox()
        yield await world.service(iovox, **POOLED), iovox
