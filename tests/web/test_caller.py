"""How often a key is looked up: requests share what is found, for as long as it is trusted."""

import asyncio
from datetime import UTC, datetime
from typing import cast

import pytest

from app.errors import NotAuthenticated, StoreUnavailable
from app.store.keys import ApiKey, KeyStore
from app.web.caller import TRUSTED_FOR, Authenticator

KEY = ApiKey("key", "shop", frozenset({"send"}), datetime.now(UTC), None)
HEADER = "Bearer dlr_one"


class Keys:
    """Stands for the store: lookups answer when they are told to."""

    def __init__(self) -> None:
        self.lookups: list[asyncio.Future[ApiKey | None]] = []

    async def find(self, _digest: bytes) -> ApiKey | None:
        lookup: asyncio.Future[ApiKey | None] = asyncio.get_running_loop().create_future()
        self.lookups.append(lookup)
        return await lookup


class World:
    """An authenticator with its store and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.keys = Keys()
        self.authenticator = Authenticator(cast("KeyStore", self.keys), clock=lambda: self.now)

    async def ask(self, header: str = HEADER) -> asyncio.Task[str]:
        """A request that has got as far as it can."""

        async def find() -> str:
            return (await self.authenticator.find(header)).app

        request = asyncio.create_task(find())
        for _ in range(5):
            await asyncio.sleep(0)
        return request


@pytest.fixture
def world() -> World:
    return World()


async def test_requests_share_a_lookup_under_way(world: World) -> None:
    requests = [await world.ask() for _ in range(3)]
    world.keys.lookups[0].set_result(KEY)
    assert await asyncio.gather(*requests) == ["shop"] * 3
    assert len(world.keys.lookups) == 1


async def test_other_keys_have_lookups_of_their_own(world: World) -> None:
    await world.ask()
    other = await world.ask("Bearer dlr_other")
    world.keys.lookups[1].set_result(None)
    with pytest.raises(NotAuthenticated):
        await other


async def test_what_was_found_is_trusted_from_when_its_lookup_began(world: World) -> None:
    first = await world.ask()
    world.now = TRUSTED_FOR * 0.9
    world.keys.lookups[0].set_result(KEY)
    assert await first == "shop"
    assert await (await world.ask()) == "shop"
    world.now = TRUSTED_FOR
    await world.ask()
    assert len(world.keys.lookups) == 2


async def test_a_lookup_that_takes_longer_than_it_is_trusted_is_not_joined(world: World) -> None:
    first = await world.ask()
    world.now = TRUSTED_FOR
    second = await world.ask()
    third = await world.ask()
    assert len(world.keys.lookups) == 2
    world.keys.lookups[1].set_result(None)  # it was revoked meanwhile
    for refused in (second, third):
        with pytest.raises(NotAuthenticated):
            await refused
    world.keys.lookups[0].set_result(KEY)
    assert await first == "shop"
    await world.ask()
    assert len(world.keys.lookups) == 3, "what the first lookup found is out of date"


async def test_a_request_that_is_cancelled_does_not_end_the_others(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    first.cancel()
    await asyncio.sleep(0)
    world.keys.lookups[0].set_result(KEY)
    assert await second == "shop"


async def test_a_failure_is_everybodys_and_not_kept(world: World) -> None:
    first, second = await world.ask(), await world.ask()
    world.keys.lookups[0].set_exception(StoreUnavailable("away"))
    for failed in (first, second):
        with pytest.raises(StoreUnavailable):
            await failed
    third = await world.ask()
    world.keys.lookups[1].set_result(KEY)
    assert await third == "shop"
