"""Faults by probability: each does what it says, as often as it is told to, and changes at once."""

from __future__ import annotations

import httpx
import pytest

from app.simulator import chaos, sms
from app.simulator.chaos import FAULTS, occurs, read_chaos

from .running import Caller, id_of, wait_until


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}),
        ("refuse=1%", {"refuse": 0.01}),
        (" slow = 5% , lost=0.5,", {"slow": 0.05, "lost": 0.5}),
        ("mute=100%,repeat=0", {"mute": 1.0, "repeat": 0.0}),
    ],
)
def test_probabilities_are_read(text: str, found: dict[str, float]) -> None:
    assert read_chaos(text) == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("refuse", "as in refuse=1%"),
        ("refuse=", "as in refuse=1%"),
        ("refuse=-1%", "as in refuse=1%"),
        ("refuse=101%", "must be 0 to 1"),
        ("refuse=2", "must be 0 to 1"),
        ("explode=1%", "is none of refuse"),
        ("slow=1%,slow=2%", "is given twice"),
    ],
)
def test_what_is_no_probability_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_chaos(text)


def test_it_occurs_with_its_probability() -> None:
    share = sum(occurs({"slow": 0.25}, "slow") for _ in range(20_000)) / 20_000
    assert 0.22 < share < 0.28
    assert not occurs({"slow": 1.0}, "lost")


def behave(caller: Caller, **shares: float) -> None:
    answer = caller.client.post("/_simulator/behaviour", json={"chaos": shares})
    assert answer.json()["chaos"] == shares


@pytest.mark.parametrize(("fault", "status"), [("refuse", 503), ("error", 500)])
def test_what_is_refused_is_not_taken(caller: Caller, fault: str, status: int) -> None:
    behave(caller, **{fault: 1.0})
    assert caller.send().status_code == status
    assert caller.messages() == []
    behave(caller)
    assert caller.send().status_code == 201


def test_an_answer_that_is_lost_is_of_a_text_that_was_taken(caller: Caller) -> None:
    behave(caller, lost=1.0)
    with pytest.raises(httpx.TransportError):
        caller.send()
    assert len(caller.messages()) == 1


def test_what_is_slow_takes_longer(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms, "SLOW", 0.3)
    behave(caller, slow=1.0)
    assert caller.send().elapsed.total_seconds() >= 0.3


@pytest.mark.parametrize(
    ("fault", "statuses"),
    [
        ("mute", []),
        ("repeat", ["ACKNOWLEDGED"] * 3 + ["DELIVERED"] * 3),
        ("reverse", ["DELIVERED", "ACKNOWLEDGED"]),
    ],
)
def test_receipts_are_disturbed(caller: Caller, fault: str, statuses: list[str]) -> None:
    behave(caller, **{fault: 1.0})
    sms_activity_id = id_of(caller.send())
    wait_until(lambda: caller.counts()["pending"] == 0, "the receipts")
    # One of the test before may have been under way.
    came = caller.receiver.of(sms_activity_id)
    assert [fields["status"] for fields in came] == statuses


def test_a_change_that_is_wrong_changes_nothing(caller: Caller) -> None:
    for wrong in ({"explode": 1}, {"slow": 2}, {"slow": True}, "slow=1%", None):
        answer = caller.client.post("/_simulator/behaviour", json={"chaos": wrong})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "chaos"
    assert caller.client.get("/_simulator/behaviour").json()["chaos"] == {}


def test_every_fault_is_described() -> None:
    assert all(FAULTS.values())
    assert chaos.SLOW > 0
