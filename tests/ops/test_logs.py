"""What an outage repeats is logged once, and then now and then with a count."""

from __future__ import annotations

import structlog
from structlog.testing import CapturingLogger

from app.ops.logs import RECURRING, WARNING_INTERVAL, RecurringLimiter
from tests.send.clock import Clock
from tests.support.process import PROJECT


def test_the_first_of_each_kind_and_then_one_each_interval_with_a_count() -> None:
    clock, written = Clock(), CapturingLogger()
    log = structlog.wrap_logger(written, processors=[RecurringLimiter(clock)])
    for _ in range(28):
        log.warning("queue_waits", reason="away")
        log.warning("sweep_waits", reason="away")
        log.warning("given_up", message_id="one of many")
        clock.now += 0.5
    said = [call.kwargs for call in written.calls]
    assert WARNING_INTERVAL == 10
    for name in ("queue_waits", "sweep_waits"):
        mine = [each for each in said if each["event"] == name]
        assert [each.get("suppressed") for each in mine] == [None, 19]
    assert sum(each["event"] == "given_up" for each in said) == 28


def test_a_bug_is_not_hidden_by_an_outage() -> None:
    written = CapturingLogger()
    log = structlog.wrap_logger(written, processors=[RecurringLimiter(Clock())])
    log.warning("webhook_poll_failed", reason="away")
    log.error("webhook_poll_failed")
    assert [call.method_name for call in written.calls] == ["warning", "error"]


def test_every_kind_is_logged_somewhere() -> None:
    code = "".join(
        path.read_text() for path in (PROJECT / "app").rglob("*.py") if path.name != "logs.py"
    )
    assert {name for name in RECURRING if f'"{name}"' not in code} == set()
