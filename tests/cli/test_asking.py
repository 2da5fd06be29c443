"""The commands that ask a running service, against a real one."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from iovox_receipts import Client
from tests.cli.here import dlr
from tests.cli.running import Running, make_key, running
from tests.support.ports import free_port
from tests.support.process import clean_environment


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(f"sqlite:///{folder / 'dlr.db'}", folder) as found:
        yield found


def send_words(destination: str, *more: str) -> list[str]:
    words = ["send", "--origin", "447923221231", "--destination", destination]
    return [*words, "--message", "Hello there, my name is John", *more]


def send(service: Running, destination: str, *more: str, expect: int = 0) -> dict[str, Any]:
    done = dlr(send_words(destination, "--json", *more), service.env)
    assert done.returncode == expect, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout or "{}")
    return answer


def test_a_text_is_sent_and_watched_to_its_end(service: Running) -> None:
    sent = send(service, "+44 7700 900100", "--expiry", "3", "--reference", "order-42")
    assert sent["status"] == "SUBMITTED"
    watched = dlr(["status", sent["id"], "--watch", "--json", "--timeout", "30"], service.env)
    assert watched.returncode == 0
    looks = [json.loads(line) for line in watched.stdout.splitlines()]
    assert looks[-1]["status"] == "DELIVERED"
    assert (looks[-1]["reference"], looks[-1]["expiry"]) == ("order-42", 3)
    shown = dlr(["status", sent["sms_activity_id"]], service.env)
    assert shown.returncode == 0
    for words in ("DELIVERED", "final", sent["id"], "delivery success (1)", "London", "UTC"):
        assert words in shown.stdout


def test_a_message_tells_of_its_call_flow_and_its_times(service: Running) -> None:
    sent = send(service, "447700900101", "--expiry", "3", "--c2c-failover-link-id", "777")
    dlr(["status", sent["id"], "--watch", "--timeout", "30"], service.env)
    shown = dlr(["status", sent["id"]], service.env).stdout
    assert "c2c_failover_link_id: 777" in shown
    assert "failover: iovox calls it now" in shown
    assert "expires_at: 20" in shown
    assert "send_at" not in shown
    again = json.loads(dlr(["resend", sent["id"], "--json"], service.env).stdout)
    assert f"resent_as: {again['id']}" in dlr(["status", sent["id"]], service.env).stdout
    assert f"resend_of: {sent['id']}" in dlr(["status", again["id"]], service.env).stdout


def test_the_status_of_a_number_is_that_of_its_last_messages(service: Running) -> None:
    # Its receipts never come, so that its status is the same in each answer.
    first = send(service, "447700900505", "--reference", "first")
    last = send(service, "447700900505", "--reference", "last")
    shown = dlr(["status", "+44 7700 900505"], service.env)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.index("last") < shown.stdout.index("first")
    written = ("+44 [0] 7700\u2011900~505", "\u202a+447700900505\u202c", "\uff0b447700900505")
    for number in written:
        assert dlr(["status", number], service.env).stdout == shown.stdout
    as_json = dlr(["status", "447700900505", "--json"], service.env).stdout
    assert last["id"] in as_json
    assert first["id"] in as_json
    nobody = dlr(["status", "+44 7700 900599"], service.env)
    assert (nobody.returncode, "none went to that number" in nobody.stdout) == (1, True)


def test_what_iovox_refuses_is_on_record(service: Running) -> None:
    told = send(service, "447700900111", expect=2)
    assert (told["status"], told["errors"][0]["field"]) == ("REJECTED", "destination")
    assert "REJECTED" in dlr(["status", told["id"]], service.env).stdout
    done = dlr(send_words("447700900111"), service.env)
    assert re.search(r"on record as [0-9a-f-]{36}$", done.stderr.strip())


def test_lists_by_the_time_of_the_status(service: Running) -> None:
    sent = send(service, "447700900105")
    words = ["list", "--json", "--status-from"]
    assert sent["id"] in dlr([*words, "2020-01-01T00:00:00Z"], service.env).stdout
    assert dlr([*words, "2999-01-01T00:00:00Z"], service.env).stdout == ""
    before = dlr(["list", "--json", "--status-to", "2020-01-01T00:00:00Z"], service.env)
    assert before.stdout == ""


def test_a_text_is_sent_for_people(service: Running) -> None:
    done = dlr(send_words("447700900105"), service.env)
    assert done.returncode == 0
    assert "SUBMITTED" in done.stdout
    assert "dlr status" in done.stderr


def test_given_twice_an_idempotency_key_sends_once(service: Running) -> None:
    first = send(service, "447700900105", "--idempotency-key", "by-hand")
    assert send(service, "447700900105", "--idempotency-key", "by-hand")["id"] == first["id"]


def test_a_scheduled_text_is_taken_back_and_sent_again(service: Running) -> None:
    in_a_day = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    sent = send(service, "447700900105", "--send-at", in_a_day)
    assert sent["status"] == "QUEUED"
    done = dlr(["cancel", sent["id"], "--json"], service.env)
    assert json.loads(done.stdout) == {"id": sent["id"], "status": "CANCELLED"}
    again = dlr(["resend", sent["id"], "--json"], service.env)
    assert json.loads(again.stdout)["status"] == "SUBMITTED"


def test_lists_with_filters(service: Running) -> None:
    for reference in ("listed-1", "listed-2"):
        send(service, "447700900111", "--reference", reference, expect=2)
        send(service, "447700900105", "--reference", reference)
    done = dlr(["list", "--status", "REJECTED", "--limit", "2", "--json"], service.env)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["reference"] for one in found] == ["listed-2", "listed-1"]
    shown = dlr(["list", "--reference", "listed-1", "--not-final"], service.env)
    assert shown.returncode == 0
    assert "SUBMITTED" in shown.stdout
    assert "REJECTED" not in shown.stdout
    reversed_ = dlr(["list", "--from", "2026-11-28", "--to", "2026-11-27"], service.env)
    assert (reversed_.returncode, "to: lies before from" in reversed_.stderr) == (2, True)
    today = dlr(["list", "--from", "2020-01-01", "--to", "2999-12-31", "--limit", "1"], service.env)
    assert (today.returncode, today.stdout.count("listed-")) == (0, 1)
    empty = dlr(["list", "--reference", "nobody's"], service.env)
    assert (empty.returncode, empty.stdout) == (0, "Nothing to show.\n")


def test_counts(service: Running) -> None:
    send(service, "447700900105")
    done = dlr(["stats", "--by", "status", "--json"], service.env)
    found = json.loads(done.stdout)
    assert found["statuses"]["SUBMITTED"] >= 1
    shown = dlr(["stats", "--by", "status"], service.env)
    assert shown.returncode == 0
    assert "SUBMITTED" in shown.stdout
    assert "delivered" in shown.stdout


def test_tails_what_comes_after_an_event(service: Running) -> None:
    send(service, "447700900105", "--reference", "before")
    with Client(service.url, service.key) as client:
        *_, newest = client.events(follow=False)
    words = ["tail", "--json", "--reference", "tailed", "--after", newest.id]
    with running_command(words, service) as process:
        sent = send(service, "447700900100", "--reference", "tailed")
        assert process.stdout is not None
        events = [json.loads(process.stdout.readline()) for _ in range(3)]
        interrupt(process)
    assert [one["status"] for one in events] == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]
    assert {one["message_id"] for one in events} == {sent["id"]}


def test_ctrl_c_ends_quietly_with_130(service: Running) -> None:
    sent = send(service, "447700900105")
    with running_command(["status", sent["id"], "--watch", "--json"], service) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["status"] == "SUBMITTED"
        interrupt(process)


@contextmanager
def running_command(words: list[str], service: Running) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(service.env),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "")


def test_webhooks_are_managed(service: Running) -> None:
    made = dlr(["webhooks", "create", "https://billing.example.com/events"], service.env)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("whsec_")
    webhook_id = re.search(r"Webhook (\S+) to", made.stderr)
    assert webhook_id is not None
    name = webhook_id[1]
    paused = dlr(["webhooks", "pause", name, "--json"], service.env)
    assert json.loads(paused.stdout)["state"] == "PAUSED"
    listed = dlr(["webhooks", "list"], service.env)
    assert "PAUSED" in listed.stdout
    assert "whsec_" not in listed.stdout
    wrong = dlr(["webhooks", "change", name, "--status", "LOST"], service.env)
    assert (wrong.returncode, "LOST" in wrong.stderr) == (2, True)
    assert dlr(["webhooks", "replay", name], service.env).returncode == 2
    assert dlr(["webhooks", "delete", name], service.env).returncode == 0
    assert dlr(["webhooks", "delete", name], service.env).returncode == 1


@pytest.mark.parametrize(
    ("words", "changed", "code", "hint"),
    [
        pytest.param(["status", "x"], {"DLR_API_KEY": ""}, 2, "DLR_API_KEY", id="no key"),
        pytest.param(["status", "x"], {"DLR_API_KEY": "dlr_x"}, 2, "API key", id="a wrong key"),
        pytest.param(["status", "x"], {"DLR_API_URL": "x"}, 2, "DLR_API_URL", id="no URL"),
        pytest.param(["status", "x"], {}, 1, "no message", id="an id that nobody has"),
        pytest.param(send_words("12"), {}, 2, "destination: Destination Invalid", id="refused"),
        pytest.param(send_words("447700900111"), {}, 2, "Destination Invalid", id="by iovox"),
        pytest.param(send_words("447700900100", "--send-at", "soon"), {}, 2, "offset", id="when"),
        pytest.param(["cancel", "x"], {}, 1, "no message", id="nothing to cancel"),
        pytest.param(["status", ""], {}, 2, "id is needed", id="an empty id"),
        pytest.param(["resend", " "], {}, 2, "id is needed", id="a blank id"),
        pytest.param(["webhooks", "pause", ""], {}, 2, "id is needed", id="an empty webhook"),
        pytest.param(["status", ".."], {}, 1, "no message", id="a dot segment"),
        pytest.param(["status", "a\nb"], {}, 1, "no message", id="a line break"),
        pytest.param(["status", "\udcff"], {}, 2, "not UTF-8", id="bytes that are no text"),
    ],
)
def test_what_goes_wrong_is_one_line(
    service: Running, words: list[str], changed: dict[str, str], code: int, hint: str
) -> None:
    done = dlr(words, service.env | changed)
    assert done.returncode == code
    assert hint in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_a_service_that_is_away_is_a_failure_after_some_seconds(service: Running) -> None:
    env = service.env | {"DLR_API_URL": f"http://127.0.0.1:{free_port()}"}
    done = dlr(["status", "x"], env)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "No answer from http://127.0.0.1" in done.stderr


def test_a_key_without_the_scope_is_told_so(service: Running) -> None:
    key = make_key(service.settings, "reader", "read")
    done = dlr(send_words("447700900100"), service.env | {"DLR_API_KEY": key})
    assert (done.returncode, "scope send" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "words", [["status", "x"], ["list"], ["stats"], ["cancel", "x"], send_words("447700900100")]
)
def test_another_address_is_told_from_the_service(service: Running, words: list[str]) -> None:
    """The simulator is not the service; and the service is not at every path of its own."""
    for url, code in ((service.simulator, 2), (f"{service.url}/v1", 1)):
        done = dlr(words, service.env | {"DLR_API_URL": url})
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
        assert f"DLR_API_URL is {url}" in done.stderr


def test_the_default_address_is_named(service: Running) -> None:
    done = dlr(["status", "x"], {"DLR_API_KEY": service.key})
    if done.returncode == 1:  # nothing else of this machine's is there
        assert "DLR_API_URL is http://127.0.0.1:8080, its default" in done.stderr
