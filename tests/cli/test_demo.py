"""`dlr demo` as a newcomer runs it; and its judge, who must not be easy to please."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from rich.console import Console

from app.cli.demo.command import report
from app.cli.demo.scenarios import ANSWER_LOST, SCENARIOS, Scenario, judge
from app.cli.demo.stage import Run
from iovox_receipts import Entry, Message, Sent
from tests.support.long import LONG
from tests.support.process import clean_environment

pytestmark = pytest.mark.slow

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
START = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@contextmanager
def demo(folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`dlr demo` with pipes for a terminal, its temporary files in a folder of the test's own."""
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "demo", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=clean_environment({"TMPDIR": str(folder), "http_proxy": "http://127.0.0.1:1"}),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(seen)


def leftovers(folder: Path) -> list[object]:
    """Files of the demo, and processes that run in its folder."""
    left: list[object] = list(folder.iterdir())
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(folder)):
                left.append(process)
        except psutil.Error:
            continue
    return left


def test_it_shows_every_history_and_can_be_tried_until_ctrl_c(tmp_path: Path) -> None:
    started_at = time.monotonic()
    with demo(tmp_path, "--keep") as process:
        output = read_until(process, "Ctrl-C ends it")
        assert time.monotonic() - started_at < 60
        shows_every_history(output)
        send = re.search(r"curl -s (\S+) -H 'Authorization: (\S+ \S+)' -d '(.+)'", output)
        play = re.search(r"curl -i (\S+) -H '(\S+): (\S+)' -d '(.+)'", output)
        assert send is not None
        assert play is not None
        with httpx.Client(trust_env=False) as http:
            sent = http.post(
                send[1], content=send[3], headers={"Authorization": send[2]}, timeout=20
            )
            assert (sent.status_code, sent.json()["status"]) == (201, "SUBMITTED")
            assert http.post(play[1], content=play[4], headers={play[2]: play[3]}).is_success
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in output + rest) == (0, False)
    assert leftovers(tmp_path) == []


def shows_every_history(output: str) -> None:
    assert f"{len(SCENARIOS)} of {len(SCENARIOS)} histories are what they should be" in output
    for scenario in SCENARIOS:
        assert f"\n{scenario.name} ─" in output
    assert re.search(r"UNCONFIRMED +\S+ \S+ +\S+ \S+ +service +the request went out", output)
    assert re.search(
        r"ACKNOWLEDGED +2020-05-06 18:37:37 +2020-05-06 17:37:37 +iovox +smsc submit \(8\)", output
    )
    assert "DELIVERED since" in output
    assert ", contradictory: receipts say both" in output
    assert output.count("receipt for") == sum(scenario.receipts for scenario in SCENARIOS)


@pytest.mark.skipif(not LONG, reason="like the one above, without Ctrl-C: DLR_TEST_LONG=1")
def test_it_ends_by_itself(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_leaves_nothing(tmp_path: Path, number: int, code: int) -> None:
    with demo(tmp_path) as process:
        read_until(process, "starting")
        deadline = time.monotonic() + 30
        while len(psutil.Process(process.pid).children()) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process.pid, number)
        output, _ = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in output) == (code, False), output
    assert leftovers(tmp_path) == []


def entry(scenario: Scenario, place: int) -> Entry:
    status = scenario.history[place]
    at = START + timedelta(seconds=place)
    if status in ("SUBMITTED", "UNCONFIRMED"):
        return Entry(status=status, at=at, source="service")
    arrived = scenario.arrival.index(status) if scenario.arrival else place
    return Entry(
        status=status,
        at=at,
        source="iovox",
        receipt_timestamp=f"{at:%Y-%m-%d %H:%M:%S}",
        time_quality="exact",
        received_at=START + timedelta(seconds=60 + arrived),
        times_seen=1,
    )


def message(scenario: Scenario, **changed: Any) -> Message:
    """What the service should say of a scenario, but for what is changed."""
    good = Message(
        id="0193",
        sms_activity_id="a-1",
        app="demo",
        status=scenario.status or scenario.history[-1],
        status_at=START,
        final=scenario.final,
        contradictory=scenario.contradictory,
        overdue=False,
        destination=scenario.destination,
        text=scenario.text,
        history=tuple(entry(scenario, place) for place in range(len(scenario.history))),
    )
    return replace(good, **changed)


TIMED = [scenario for scenario in SCENARIOS if not scenario.times]


@pytest.mark.parametrize("scenario", TIMED, ids=lambda scenario: scenario.name)
def test_what_should_be_is_good(scenario: Scenario) -> None:
    assert judge(scenario, scenario.answer, message(scenario)) == []


def last(scenario: Scenario, **changed: Any) -> Message:
    """The message, with something else about its last receipt."""
    history = message(scenario).history
    return message(scenario, history=(*history[:-1], replace(history[-1], **changed)))


BOTH = BY_NAME["contradictory"]
GOOD, BUFFERED = BY_NAME["delivered"], BY_NAME["buffered"]
DISORDERED, SUMMER = BY_NAME["out of order"], BY_NAME["summer time"]
BACKWARDS = message(BUFFERED).history[::-1]
NEXT_DAY = START + timedelta(days=1)


@pytest.mark.parametrize(
    ("scenario", "found", "hint"),
    [
        pytest.param(BUFFERED, message(BUFFERED, history=BACKWARDS), "history", id="order"),
        pytest.param(BUFFERED, message(BUFFERED, history=BACKWARDS[1:]), "history", id="short"),
        pytest.param(BUFFERED, message(BUFFERED, status="BUFFERED"), "status", id="status"),
        pytest.param(BUFFERED, message(BUFFERED, final=False), "final", id="not final"),
        pytest.param(BUFFERED, message(BUFFERED, contradictory=True), "contradictory", id="both"),
        pytest.param(BOTH, message(BOTH, contradictory=False), "contradictory", id="not both"),
        pytest.param(BOTH, message(BOTH, status="FAILED"), "status", id="undone"),
        pytest.param(GOOD, message(GOOD, text="Unicode & <emoji> 😀"), "text", id="text"),
        pytest.param(GOOD, message(GOOD, destination="44"), "destination", id="to whom"),
        pytest.param(GOOD, last(GOOD, at=NEXT_DAY), "in London", id="UTC"),
        pytest.param(GOOD, last(GOOD, receipt_timestamp=None), "in London", id="no London time"),
        pytest.param(GOOD, last(GOOD, time_quality="received"), "not exact", id="quality"),
        pytest.param(GOOD, last(GOOD, times_seen=2), "2 times", id="seen twice"),
        pytest.param(GOOD, last(GOOD, source="service"), "come from", id="source"),
        pytest.param(DISORDERED, last(DISORDERED, received_at=NEXT_DAY), "arrival", id="arrival"),
        pytest.param(SUMMER, message(SUMMER), "time in UTC", id="summer time"),
    ],
)
def test_what_should_not_be_is_not(scenario: Scenario, found: Message, hint: str) -> None:
    faults = judge(scenario, scenario.answer, found)
    assert any(hint in fault for fault in faults), faults


def test_the_answer_to_the_send_is_judged() -> None:
    assert judge(ANSWER_LOST, "SUBMITTED", message(ANSWER_LOST)) == [
        "the answer to the send is 'SUBMITTED' and should be 'UNCONFIRMED'"
    ]


def test_one_bad_history_is_shown_and_counted() -> None:
    run = Run()
    for scenario in SCENARIOS:
        run.sent[scenario.name] = Sent(id="0193", status=scenario.answer)
        run.messages[scenario.name] = message(scenario)
    run.messages["failed"] = message(BY_NAME["failed"], status="DELIVERED")
    out = StringIO()
    bad = {"failed", "summer time"}
    assert report(Console(file=out, width=120), run) == len(SCENARIOS) - len(bad)
    assert "✘ the status is 'DELIVERED' and should be 'FAILED'" in out.getvalue()
