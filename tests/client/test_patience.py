"""Patience bounds a whole call, whatever the service does or does not do meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

from iovox_receipts import Client, ClientError, NotFinalYet, TryLater, Unreachable
from tests.client.both import Make
from tests.client.misbehaving import (
    HEAD,
    Speak,
    drips_a_body,
    drips_chunks,
    drips_headers,
    hangs_up,
    is_busy,
    server,
    silent,
)
from tests.client.scripted import KEY, message
from tests.support.ports import free_port

PATIENCE = 0.3
SLACK = 0.5
"""Seconds that a busy machine may add."""
Act = Callable[[Client], object]

SPEAKERS = [silent, drips_headers, drips_a_body, drips_chunks, hangs_up, is_busy]
ACTS: dict[str, Act] = {
    "send": lambda c: c.send("a", "b", "c"),
    "send_batch": lambda c: c.send_batch([]),
    "resend": lambda c: c.resend("x"),
    "cancel": lambda c: c.cancel("x"),
    "status": lambda c: c.status("x"),
    "wait_final": lambda c: c.wait_final("x"),
    "watch": lambda c: list(c.watch("x")),
    "list": lambda c: c.list(),
    "all": lambda c: list(c.all()),
    "lookup": lambda c: c.lookup(["x"] * 2_500),
    "stats": lambda c: c.stats(),
    "events": lambda c: list(c.events(follow=False)),
    "webhooks": lambda c: c.webhooks.list(),
}


@contextmanager
def bounded(error: type[Exception] | tuple[type[Exception], ...], seconds: float) -> Iterator[None]:
    started_at = time.monotonic()
    with pytest.raises(error):
        yield
    assert time.monotonic() - started_at < seconds + SLACK


@pytest.mark.parametrize("speak", SPEAKERS)
def test_a_send_ends_in_time(make: Make, speak: Speak) -> None:
    with server(speak) as url:
        client = make(url, KEY, patience=PATIENCE)
        with bounded((Unreachable, TryLater), PATIENCE):
            client.send("a", "b", "c")


@pytest.mark.parametrize("name", ACTS)
def test_every_call_ends_in_time(make: Make, name: str) -> None:
    with server(drips_headers) as url:
        client = make(url, KEY, patience=PATIENCE)
        with bounded(Unreachable, PATIENCE):
            ACTS[name](client)


def test_where_nobody_listens_it_is_tried_until_patience_ends(make: Make) -> None:
    client = make(f"http://127.0.0.1:{free_port()}", KEY, patience=1.0)
    started_at = time.monotonic()
    with bounded(Unreachable, 1.0):
        client.send("a", "b", "c")
    assert time.monotonic() - started_at > 0.2  # it was tried again


def test_a_call_may_have_a_patience_of_its_own(make: Make) -> None:
    with server(silent) as url:
        client = make(url, KEY, patience=60)
        with bounded(Unreachable, 0.3):
            client.status("x", patience=0.3)


def test_who_is_never_reached_may_be_given_up_earlier(make: Make) -> None:
    away = make(f"http://127.0.0.1:{free_port()}", KEY, patience=60, connect_timeout=0.5)
    with bounded(Unreachable, 0.5):
        away.send("a", "b", "c")
    with bounded(Unreachable, 0.5):
        next(away.stream())
    with server(silent) as url:
        there = make(url, KEY, patience=1.0, connect_timeout=0.1)
        started_at = time.monotonic()
        with bounded(Unreachable, 1.0):
            there.status("x")
        assert time.monotonic() - started_at >= 1.0


@pytest.mark.parametrize("speak", [silent, drips_headers, hangs_up, is_busy])
def test_a_stream_begins_in_time_or_not_at_all(make: Make, speak: Speak) -> None:
    with server(speak) as url:
        client = make(url, KEY, patience=PATIENCE)
        with bounded((Unreachable, TryLater), PATIENCE):
            next(client.stream())


def test_waiting_for_the_final_status_ends_a_second_later_at_most(make: Make) -> None:
    with server(silent) as url:
        client = make(url, KEY, patience=60)
        with bounded(Unreachable, 1.2):
            client.wait_final("x", timeout=0.2)


def test_what_was_seen_is_told_where_the_service_goes_away(make: Make) -> None:
    seen = message("ACKNOWLEDGED").content
    answered = Event()

    def speak(connection: Any, over: Event) -> None:
        if answered.is_set():
            over.wait()
        answered.set()
        connection.sendall(HEAD + b"ETag: 1\r\nContent-Length: %d\r\n\r\n%b" % (len(seen), seen))

    with server(speak) as url:
        client = make(url, KEY, patience=60)
        started_at = time.monotonic()
        with pytest.raises(NotFinalYet) as raised:
            client.wait_final("x", timeout=1.5)
        assert raised.value.message.status == "ACKNOWLEDGED"
        assert 1.5 <= time.monotonic() - started_at < 2.5 + SLACK


def test_a_failed_send_tells_the_key_that_makes_a_repetition_safe(make: Make) -> None:
    with server(hangs_up) as url:
        client = make(url, KEY, patience=0.5)
        with pytest.raises(Unreachable) as made:
            client.send("a", "b", "c")
        assert len(made.value.idempotency_key or "") == 36
        with pytest.raises(ClientError) as given:
            client.resend("x", idempotency_key="order-42")
        assert given.value.idempotency_key == "order-42"
        with pytest.raises(ClientError) as none:
            client.status("x")
        assert none.value.idempotency_key is None


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_patience_is_a_time(make: Make, seconds: float) -> None:
    with pytest.raises(ValueError, match="greater than 0"):
        make("https://sms.example.com", KEY, patience=seconds)
    with pytest.raises(ValueError, match="greater than 0"):
        make("https://sms.example.com", KEY).status("x", patience=seconds)
