"""A host with several addresses is reached at the first one that responds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from app.errors import NotSent
from app.iovox.client import IovoxClient
from app.iovox.tls import tls_context
from tests.iovox.certificates import Certificates
from tests.iovox.conftest import SUBMISSION
from tests.iovox.listening import blackhole, free_port, listening, say_nothing
from tests.iovox.resolving import StaticResolver
from tests.iovox.scripted import ACTIVITY_ID, Scripted, scripted

Make = Callable[..., IovoxClient]


def port_of(server: Scripted) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.mark.parametrize("turn", [1, -1], ids=["silent first", "working first"])
async def test_one_silent_address_stops_nothing(
    iovox: Scripted, make_client: Make, turn: int
) -> None:
    with blackhole() as silent:
        addresses = [("127.0.0.1", silent), ("127.0.0.1", port_of(iovox))][::turn]
        client = make_client("http://iovox.test", resolver=StaticResolver(*addresses))
        started = time.monotonic()
        sends = (client.send(SUBMISSION) for _ in range(4))
        assert await asyncio.gather(*sends) == [ACTIVITY_ID] * 4
        assert time.monotonic() - started < 1  # of 2 s for connecting
        assert len(iovox.bodies) == 4


async def test_an_address_that_refuses_stops_nothing(iovox: Scripted, make_client: Make) -> None:
    resolver = StaticResolver(("127.0.0.1", free_port()), ("127.0.0.1", port_of(iovox)))
    assert await make_client("http://iovox.test", resolver=resolver).send(SUBMISSION) == ACTIVITY_ID
    assert resolver.asked == ["iovox.test"]


async def test_an_address_that_is_silent_in_tls_leaves_time_for_another(
    make_client: Make, certificates: Certificates
) -> None:
    async with listening(say_nothing) as silent, scripted(certificates.server_context()) as iovox:
        resolver = StaticResolver(("127.0.0.1", silent), ("127.0.0.1", port_of(iovox)))
        client = make_client(
            "https://iovox.test",
            resolver=resolver,
            tls=tls_context(certificates.ca),
            connect_timeout=0.3,
        )
        assert await client.send(SUBMISSION) == ACTIVITY_ID


async def test_where_all_are_silent_it_is_not_sent(make_client: Make) -> None:
    with blackhole() as one, blackhole() as other:
        resolver = StaticResolver(("127.0.0.1", one), ("127.0.0.1", other))
        client = make_client("http://iovox.test", resolver=resolver, connect_timeout=0.3)
        started = time.monotonic()
        with pytest.raises(NotSent, match="ConnectTimeout") as caught:
            await client.send(SUBMISSION)
        assert not caught.value.reached
        assert time.monotonic() - started < 2 * 0.3 + 0.3


async def test_a_name_without_an_answer_is_not_sent(make_client: Make) -> None:
    class Silent(StaticResolver):
        async def resolve(self, *_: object, **__: object) -> list[object]:  # type: ignore[override]
            await asyncio.sleep(60)
            return []

    client = make_client("http://iovox.test", resolver=Silent(), connect_timeout=0.1)
    started = time.monotonic()
    with pytest.raises(NotSent, match="ConnectTimeout"):
        await client.send(SUBMISSION)
    assert time.monotonic() - started < 1


async def test_a_name_without_addresses_is_not_sent(make_client: Make) -> None:
    with pytest.raises(NotSent):
        await make_client("http://iovox.test", resolver=StaticResolver()).send(SUBMISSION)
