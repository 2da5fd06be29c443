from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from app.iovox.callback import CallbackHeaders
from app.iovox.client import IovoxClient
from app.model.message import Submission
from tests.iovox.scripted import Scripted, scripted

SECURE_KEY = "s3cure-key-of-ours"
CALLBACK_SECRET = "callback-s3cret"
MESSAGE_ID = UUID("0193e0c4-0000-7000-8000-000000000001")
SUBMISSION = Submission(MESSAGE_ID, "447923221231", "447723443321", "the text itself", expiry=3)


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


@pytest.fixture
def no_secrets() -> Callable[[BaseException], None]:
    """Checks that an error tells nothing that only we and iovox should know."""

    def check(error: BaseException) -> None:
        shown = f"{error} {error!r} {vars(error)}"
        for hidden in (SECURE_KEY, CALLBACK_SECRET, "the text itself", SUBMISSION.destination):
            assert hidden not in shown

    return check
