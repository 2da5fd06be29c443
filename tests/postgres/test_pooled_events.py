from __future__ import annotations
import pytest
from tests.events.conftest import receiver, service, world
from tests.events.receiver import Json
from tests.events.test_feed import *
from tests.events.test_stream import *
from tests.events.test_webhooks import *
from tests.postgres.conftest import POOLED

pytestmark = pytest.mark.asyncio(loop_scope="module")

@pytest.fixture(scope="module")
def settings() -> Json:
    return dict(POOLED)
