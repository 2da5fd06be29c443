"""One simulator and one receiver for all tests; a caller that finds both as if just started."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict

import httpx
import pytest
import uvicorn

from app.simulator.behaviour import Behaviour
from app.simulator.main import create_simulator
from app.simulator.server import make_server

from .running import Caller, Receiver, running

QUICK = Behaviour(receipt_delay=0.01, withheld=0.2)


@pytest.fixture(scope="session")
def receiver_url(receiver_app: Receiver) -> Iterator[str]:
    config = uvicorn.Config(receiver_app, port=0, lifespan="off", log_config=None)
    with running(uvicorn.Server(config)) as url:
        receiver_app.url = f"{url}/dlr"
        yield receiver_app.url


@pytest.fixture(scope="session")
def receiver_app() -> Receiver:
    return Receiver()


@pytest.fixture(scope="session")
def simulator_url(receiver_url: str) -> Iterator[str]:
    with running(make_server(create_simulator(), port=0)) as url:
        yield url


@pytest.fixture
def receiver(receiver_app: Receiver, receiver_url: str) -> Receiver:
    receiver_app.calls.clear()
    receiver_app.answers = 200
    return receiver_app


@pytest.fixture(scope="session")
def client(simulator_url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=simulator_url, trust_env=False, timeout=5) as client:
        yield client


@pytest.fixture
def caller(
    client: httpx.Client, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> Iterator[Caller]:
    caller = Caller(client, receiver)
    caller.behave(**asdict(QUICK))
    client.post("/_simulator/reset").raise_for_status()
    receiver.calls.clear()
    yield caller
    # Whatever a test throws at the simulator: nothing may end in a traceback.
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
