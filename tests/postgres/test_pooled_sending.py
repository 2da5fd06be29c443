"""Sending through a pooler in transaction mode: tests of the suite itself, and two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.postgres.conftest import POOLED
from tests.send.conftest import iovox, service
from tests.send.test_batch import test_messages_are_sent_in_order
from tests.send.test_idempotency import (
    key,
    test_fifty_concurrent_requests_make_one_text,
    test_the_first_response_is_replayed,
)
from tests.send.test_schedule import (
    test_a_resend_is_a_new_message,
    test_cancelled_while_queued,
    test_sent_at_the_scheduled_time,
)
from tests.send.test_send import (
    test_a_lost_response_ends_delivered_with_one_text,
    test_accepted,
    test_refused_by_iovox_in_its_own_words,
)
from tests.send.world import Iovox, Service, World, to, until

__all__ = [
    "iovox",
    "key",
    "service",
    "test_a_lost_response_ends_delivered_with_one_text",
    "test_a_resend_is_a_new_message",
    "test_accepted",
    "test_cancelled_while_queued",
    "test_fifty_concurrent_requests_make_one_text",
    "test_messages_are_sent_in_order",
    "test_refused_by_iovox_in_its_own_words",
    "test_sent_at_the_scheduled_time",
    "test_the_first_response_is_replayed",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_url: str) -> AsyncIterator[tuple[Service, Iovox]]:
    async with AsyncExitStack() as stack:
        world = World(shared_url, stack)
        iovox = await world.iovox()
        yield await world.service(iovox, **POOLED), iovox


async def test_what_one_replica_queues_another_sends(
    service: Service, iovox: Iovox, shared_url: str
) -> None:
    """Nobody can be woken by the database there: a look every second has to do."""
    async with AsyncExitStack() as stack:
        other = await World(shared_url, stack).service(iovox, queue_workers=False, **POOLED)
        answer = await other.post("/v1/messages", to("100"), Prefer="respond-async")
        assert answer.status_code == 202, answer.text
        await other.becomes(answer.json()["id"], "DELIVERED", patience=5)
        assert await iovox.sent() == [answer.json()["id"]]


async def test_of_many_at_once_by_two_replicas_none_meets_anothers_statements(
    service: Service, iovox: Iovox, shared_url: str
) -> None:
    """222 of 300 were 503 once: `prepared statement "__asyncpg_stmt_1__" already exists`."""
    async with AsyncExitStack() as stack:
        other = await World(shared_url, stack).service(iovox, **POOLED)
        answers = await asyncio.gather(*(each.send() for each in (service, other) * 75))
        # 202 is for those that found all connections to iovox taken
        assert {answer.status_code for answer in answers} <= {201, 202}

        async def all_accepted() -> bool:
            return bool((await iovox.counts())["accepted"] >= 150)

        await until(all_accepted, "150 texts", patience=15, every=0.1)
        assert (await iovox.counts())["accepted"] == 150
