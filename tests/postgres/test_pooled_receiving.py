"""Receiving through a pooler in transaction mode: tests of the suite, by a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.receive.conftest import database, iovox, shared_database
from tests.receive.serving import Service, serve
from tests.receive.test_dlr import (
    test_a_receipt_that_names_its_message_settles_it,
    test_acknowledged_and_delivered_in_one_batch_in_the_same_second,
    test_an_unknown_id_is_kept_and_attached_when_its_message_appears,
    test_many_at_once_are_all_kept_and_told_in_order,
    test_the_same_receipt_46_times_over_20_connections,
)

__all__ = [
    "database",
    "iovox",
    "shared_database",
    "test_a_receipt_that_names_its_message_settles_it",
    "test_acknowledged_and_delivered_in_one_batch_in_the_same_second",
    "test_an_unknown_id_is_kept_and_attached_when_its_message_appears",
    "test_many_at_once_are_all_kept_and_told_in_order",
    "test_the_same_receipt_46_times_over_20_connections",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def service(shared_url: str, direct_url: str) -> Iterator[Service]:
    """Only the server itself goes through the pooler."""
    running = serve(shared_url, DLR_DATABASE_POOLER="transaction")
    with running.process:
        yield Service(running.url, direct_url, running.process)
