"""The feed, streams and webhooks through a pooler in transaction mode: tests of the suites."""

from __future__ import annotations

import pytest

from tests.events.conftest import receiver, service, world
from tests.events.receiver import Json
from tests.events.test_feed import (
    test_an_event_tells_what_happened,
    test_pages_follow_one_another_without_gap_or_repeat,
)
from tests.events.test_stream import (
    test_a_stream_tells_what_the_feed_tells,
    test_joining_while_events_are_written_misses_and_repeats_nothing,
)
from tests.events.test_webhooks import (
    QUICK,
    test_a_receiver_is_told_how_a_message_ended,
    test_every_status_in_order_per_message,
    test_replays,
)
from tests.postgres.conftest import POOLED

__all__ = [
    "receiver",
    "service",
    "test_a_receiver_is_told_how_a_message_ended",
    "test_a_stream_tells_what_the_feed_tells",
    "test_an_event_tells_what_happened",
    "test_every_status_in_order_per_message",
    "test_joining_while_events_are_written_misses_and_repeats_nothing",
    "test_pages_follow_one_another_without_gap_or_repeat",
    "test_replays",
    "world",
]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def settings() -> Json:
    return {**QUICK, **POOLED}
