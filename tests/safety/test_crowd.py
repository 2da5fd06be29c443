"""Receipts beside a thousand callers that are idle, slow, or flood the service."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.receive.serving import Service, serving_a_copy
from tests.server.test_held_up import SENDERS, Receipts
from tests.support.process import PROJECT

pytestmark = pytest.mark.slow

IDLE, SLOW, FLOODING = 1_000, 500, 200
P99 = 0.1
"""Seconds, on a machine that is calm."""
NOISE = 10
"""A machine that is busy with other tests is slow by itself: times its p99 before they came."""
SECONDS = 2

log = logging.getLogger(__name__)


@pytest.fixture
def service(sqlite_template: Path, tmp_path: Path) -> Iterator[Service]:
    with serving_a_copy(sqlite_template, tmp_path) as running:
        yield running


def p99(seconds: Sequence[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.99)]


async def test_receipts_are_answered_beside_a_crowd(service: Service) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2 * (IDLE + SLOW + FLOODING):
        pytest.skip("too few open files are allowed here")
    words = [str(each) for each in (service.address[1], IDLE, SLOW, FLOODING)]
    receipts = Receipts(service)
    async with receipts.sending():
        await asyncio.sleep(0.5)
        receipts.take()
        await asyncio.sleep(1)
        calm = p99(receipts.take())
        crowd = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.safety.crowd", *words),
            cwd=PROJECT,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert crowd.stdout is not None
            async with asyncio.timeout(30):
                assert await crowd.stdout.readline() == b"here\n"
            receipts.take()
            await asyncio.sleep(SECONDS)
            beside = receipts.take()
        finally:
            crowd.kill()
            await crowd.wait()
    log.info("p99 %.1f ms, before they came %.1f ms", p99(beside) * 1000, calm * 1000)
    assert len(beside) >= SENDERS
    assert p99(beside) <= max(P99, NOISE * calm)
