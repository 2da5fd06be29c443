"""Runs the scenarios: starts the servers, sends every text, waits for the receipts."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from app.cli.demo.past import write_past
from app.cli.demo.receivers import FAILING, TAKING
from app.cli.demo.scenarios import (
    ANSWER_LOST,
    LATE,
    READ_TIMEOUT,
    SCENARIOS,
    SPACING,
    Scenario,
    is_complete,
)
from app.cli.demo.servers import PortTaken, Servers, free_ports
from app.errors import ServiceError
from app.record.evidence.keys import write_key
from app.record.evidence.note import SigningKey
from app.store.engine import Database
from iovox_receipts import Client, Message, Sent

ORIGIN = "447923221231"
SCOPES = ("--scope", "send", "--scope", "read")
PORT_TRIES = 3
AUTH_HEADER = "X-Demo-Secret"
RECEIPTS_PATIENCE = 20.0
"""Seconds for all receipts; the last one is due after about 6."""
LOOK_EVERY = 0.1

Say = Callable[[str], None]


@dataclass(slots=True)
class Stage:
    """Where the service and the simulator are, and how to talk to them."""

    servers: Servers
    simulator: str
    service: str
    key: str
    secret: str
    client: Client

    def behave(self, **knobs: float) -> None:
        """Change the simulator's behaviour."""
        self.servers.http.post(
            f"{self.simulator}/_simulator/behaviour", json=knobs
        ).raise_for_status()

    def post_receipt(self, body: Mapping[str, object]) -> None:
        """Post a receipt in iovox's place."""
        headers = {AUTH_HEADER: self.secret}
        self.servers.http.post(f"{self.service}/dlr", json=body, headers=headers).raise_for_status()

    def ask(self, key: str, path: str, body: Mapping[str, object]) -> dict[str, Any]:
        """POST to the service's API."""
        headers = {"Authorization": f"Bearer {key}"}
        answer = self.servers.http.post(f"{self.service}{path}", json=body, headers=headers)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def pending(self) -> int:
        """How many texts have receipts still to come."""
        answer = self.servers.http.get(f"{self.simulator}/_simulator/counts?brief=1")
        counts: dict[str, Any] = answer.raise_for_status().json()
        return int(counts["pending"])


@dataclass(slots=True)
class Run:
    """What was answered to each scenario's send, and what became of it."""

    sent: dict[str, Sent] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)


def set_up(servers: Servers, say: Say) -> Stage:
    """Start the simulator and the service, and create a key. Raises ServiceError."""
    say("starting a simulated iovox and the service, creating an API key")
    for _ in range(PORT_TRIES - 1):
        try:
            return _start(servers)
        except PortTaken:
            servers.stop()
    return _start(servers)


def _start(servers: Servers) -> Stage:
    simulator, service = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    secret = secrets.token_urlsafe(24)
    database = {"DLR_DATABASE_URL": servers.database_url}
    log_key = servers.folder / f"log-{secrets.token_hex(4)}.key"
    write_key(log_key, SigningKey.generate("demo.example/log"))
    settings = database | {
        "DLR_EVIDENCE_KEY_FILE": str(log_key),
        "DLR_WEBHOOK_ALLOW_HTTP": "true",
        "DLR_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "DLR_SPOOL_DIR": str(servers.folder / "spool"),
        "DLR_PUBLIC_URL": service,
        "DLR_CALLBACK_URL_HEADERS": f"Content-Type: application/json,{AUTH_HEADER}: {secret}",
        "DLR_IOVOX_URL": simulator,
        "DLR_IOVOX_USERNAME": "demo",
        "DLR_IOVOX_SECURE_KEY": secrets.token_urlsafe(24),
        "DLR_IOVOX_READ_TIMEOUT": str(READ_TIMEOUT),
        "DLR_SHUTDOWN_TIMEOUT": "3",
    }
    # All at once: each of them spends its first seconds importing libraries.
    iovox = servers.spawn("simulator", "--port", simulator.rpartition(":")[2], env={})
    us = servers.spawn("serve", "--port", service.rpartition(":")[2], env=settings)
    key = servers.spawn("keys", "create", "demo", *SCOPES, env=database).result().splitlines()[-1]
    servers.wait_ready(iovox, f"{simulator}/_simulator/counts?brief=1")
    servers.wait_ready(us, f"{service}/readyz")
    client = Client(service, key, patience=20.0)
    return Stage(servers, simulator, service, key, secret, client)


def write_history(stage: Stage, receivers: str) -> str:
    """Write texts of the past, of which webhooks are told; returns an API key for the console,
    which sees all of them.
    """
    words = ("keys", "create", "console", "--scope", "admin")
    made = stage.servers.spawn(*words, env={"DLR_DATABASE_URL": stage.servers.database_url})
    key = made.result().splitlines()[-1]
    stage.ask(key, "/v1/webhooks", {"url": receivers + TAKING})
    asyncio.run(_write_history(stage.servers.database_url))
    failing = stage.ask(key, "/v1/webhooks", {"url": receivers + FAILING})
    stage.ask(key, f"/v1/webhooks/{failing['id']}/test", {})
    return key


async def _write_history(database_url: str) -> None:
    database = Database(database_url)
    try:
        await write_past(database, datetime.now(UTC))
    finally:
        await database.close()


def play(stage: Stage, say: Say) -> Run:
    """Send every text and wait until each has had what it should, or the time is over."""
    run = Run()
    with ThreadPoolExecutor(max_workers=1) as pool:
        # ANSWER_LOST goes first, while the simulator delays receipts: they have to come after the
        # service has given the answer up. The delay of a receipt that waits already stays as it is.
        stage.behave(receipt_delay=LATE, event_spacing=SPACING)
        waiting = pool.submit(_send, stage, ANSWER_LOST)
        _wait_until(lambda: stage.pending() > 0 or waiting.done(), stage, READ_TIMEOUT)
        stage.behave(receipt_delay=SPACING)
        for scenario in SCENARIOS:
            if scenario is not ANSWER_LOST:
                sent = run.sent[scenario.name] = _send(stage, scenario)
                _tell(scenario, sent, say)
                for body in scenario.played:
                    stage.post_receipt({"sms_activity_id": sent.sms_activity_id, **body})
        run.sent[ANSWER_LOST.name] = waiting.result()
    _tell(ANSWER_LOST, run.sent[ANSWER_LOST.name], say)
    return run


def follow(stage: Stage, run: Run, say: Say, progress: Callable[[int], None]) -> None:
    """Look until every history is complete and no receipt is to come, or the time is over."""

    def is_over() -> bool:
        to_come = stage.pending()
        for scenario in SCENARIOS:
            message = stage.client.status(run.sent[scenario.name].id)
            _news(scenario, run.messages.get(scenario.name), message, say)
            run.messages[scenario.name] = message
        progress(sum(_receipts(message) for message in run.messages.values()))
        complete = all(is_complete(each, run.messages[each.name]) for each in SCENARIOS)
        return complete and to_come == 0

    _wait_until(is_over, stage, RECEIPTS_PATIENCE)


def _send(stage: Stage, scenario: Scenario) -> Sent:
    return stage.client.send(
        ORIGIN, scenario.destination, scenario.text, reference=f"demo, {scenario.name}"
    )


def _tell(scenario: Scenario, sent: Sent, say: Say) -> None:
    say(f"sent to …{scenario.ending}, {scenario.name}: answered {sent.status}")


def _news(scenario: Scenario, before: Message | None, now: Message, say: Say) -> None:
    had = _receipts(before) if before else 0
    fresh = sorted(
        (entry for entry in now.history if entry.source == "iovox"),
        key=lambda entry: entry.received_at or entry.at,
    )[had:]
    for entry in fresh:
        say(f"receipt for {scenario.name}: {entry.status}")


def _receipts(message: Message) -> int:
    return sum(entry.source == "iovox" for entry in message.history)


def _wait_until(condition: Callable[[], bool], stage: Stage, patience: float) -> None:
    """Until it is so or the time is over. Raises ServiceError where a server has died meanwhile."""
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        if not stage.servers.all_run:
            raise ServiceError("A server ended before the demo did")
        time.sleep(LOOK_EVERY)
