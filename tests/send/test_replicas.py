"""Several processes share one queue: 1,000 messages, or 10,000 with DLR_TEST_LONG=1."""

from __future__ import annotations

import time
from bisect import bisect_left
from functools import partial

import httpx
import pytest

from tests.cli.running import make_key
from tests.send.processes import LONG, stage, wait_for
from tests.send.world import HELLO

pytestmark = [pytest.mark.slow, pytest.mark.postgresql, pytest.mark.timeout(300)]
COUNT = 10_000 if LONG else 1_000


def test_each_is_sent_once_by_two_replicas(postgres_url: str) -> None:
    with stage(postgres_url) as here:
        here.start()
        here.start()
        ids = here.queue(COUNT)
        wait_for(lambda: here.accepted() >= COUNT, "all of them", patience=200)
        time.sleep(0.5)
        counts = here.counts()
        assert counts["attempts_by_message_id"] == dict.fromkeys(ids, 1)


def test_a_backlog_of_one_app_does_not_delay_another(postgres_url: str) -> None:
    """The replicas share one rate."""
    rate = 60
    with stage(postgres_url, DLR_IOVOX_RATE=str(rate)) as here:
        here.start()
        here.start("--no-workers")
        here.queue(1000)
        key = make_key(here.env, "another-app", "send")
        time.sleep(0.5)
        with httpx.Client(trust_env=False, timeout=30) as client:
            waits = []
            for port in here.ports * 2:
                asked = time.time()
                url = f"http://127.0.0.1:{port}/v1/messages"
                response = client.post(url, json=HELLO, headers={"Authorization": f"Bearer {key}"})
                assert response.status_code in (201, 202)
                message_id = response.json()["id"]
                wait_for(partial(here.has, message_id), "the text", patience=20)
                waits.append(here.sent_at()[message_id] - asked)
        assert max(waits) < 2, waits
        seconds = sorted(here.sent_at().values())
    most = max(bisect_left(seconds, moment + 1.0) - n for n, moment in enumerate(seconds))
    assert most <= rate * 1.2
    assert len(seconds) >= rate * 0.7 * (seconds[-1] - seconds[0])


def test_a_worker_sends_what_replicas_without_workers_queue(postgres_url: str) -> None:
    with stage(postgres_url) as here:
        here.start("--no-workers")
        (alone,) = here.queue(1)
        time.sleep(1.5)
        assert here.accepted() == 0
        worker = here.start_worker()
        wait_for(lambda: here.accepted() == 1, "the worker's first text", patience=20)
        # By a wake-up: polling alone would take longer.
        asked = time.monotonic()
        (second,) = here.queue(1)
        wait_for(lambda: here.accepted() == 2, "the second text", patience=5, every=0.01)
        assert time.monotonic() - asked < 0.9
        assert set(here.counts()["by_message_id"]) == {alone, second}
        assert worker.terminate() == 0
