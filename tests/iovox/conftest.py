from __future__ import annotations

import asyncio
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from uuid import UUID

import pytest
import uvloop

from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.model.message import Submission
from tests.iovox.certificates import Certificates, make_certificates
from tests.iovox.proxying import BASIC, CREDENTIALS, PASSWORD
from tests.iovox.scripted import Scripted, scripted

SECURE_KEY = "s3cure-key-of-ours"
CALLBACK_SECRET = "callback-s3cret"
MESSAGE_ID = UUID("0193e0c4-0000-7000-8000-000000000001")
SUBMISSION = Submission(MESSAGE_ID, "447923221231", "447723443321", "the text itself", expiry=3)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The service runs on uvloop, its commands on asyncio's own: how a connection is made, and
    learns of its end, differs.
    """
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def iovox() -> AsyncIterator[Scripted]:
    async with scripted() as server:
        yield server


@pytest.fixture
async def make_client() -> AsyncIterator[Callable[..., IovoxClient]]:
    """A client for a URL, with any setting overridden by keyword; closed at the end."""
    made: list[IovoxClient] = []

    def make(base_url: str, **overrides: Any) -> IovoxClient:
        settings: dict[str, Any] = {
            "username": "user",
            "secure_key": SECURE_KEY,
            "callback_url": "https://dlr.example.com/dlr",
            "callback_headers": CallbackHeaders.parse(
                f"X-Custom-Header: {CALLBACK_SECRET}", auth_header=None, previous_secrets=()
            ),
            "pool_timeout": 2.0,
            "connect_timeout": 2.0,
            "read_timeout": 2.0,
            "max_connections": 4,
            "retry_on_500": True,
        }
        made.append(IovoxClient(base_url=base_url, **settings | overrides))
        return made[-1]

    yield make
    for client in made:
        await client.aclose()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def no_secrets() -> Callable[[BaseException], None]:
    """Checks that an error contains no secret."""

    def check(error: BaseException) -> None:
        shown = "".join(traceback.format_exception(error))
        chain: BaseException | None = error
        while chain is not None:
            shown += f"{chain} {chain!r} {vars(chain)}"
            chain = chain.__cause__ or chain.__context__
        secrets = (SECURE_KEY, CALLBACK_SECRET, PASSWORD, CREDENTIALS, BASIC)
        for hidden in (*secrets, "the text itself", SUBMISSION.destination):
            assert hidden not in shown

    return check
