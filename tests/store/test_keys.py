"""API keys: found by digest while they are valid, and only then."""

from __future__ import annotations

import pytest

from app.errors import StoreRefused
from app.store.engine import Database
from app.store.keys import KeyStore

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def keys(database: Database) -> KeyStore:
    return KeyStore(database)


async def add(keys: KeyStore, key_id: str, app: str = "billing", *scopes: str) -> None:
    await keys.add(
        key_id=key_id, app=app, digest=key_id.encode(), scopes=frozenset(scopes or {"send"})
    )


async def test_a_key_is_found_by_its_digest_alone(keys: KeyStore) -> None:
    await add(keys, "one", "billing", "send", "read")
    found = await keys.find(b"one")
    assert found is not None
    assert (found.id, found.app, found.scopes) == ("one", "billing", frozenset({"send", "read"}))
    assert found.revoked_at is None
    for other in (b"", b"on", b"ONE", b"one\x00"):
        assert await keys.find(other) is None


async def test_a_revoked_key_is_found_no_more(keys: KeyStore) -> None:
    await add(keys, "one")
    await add(keys, "two")
    assert await keys.revoke("one")
    assert not await keys.revoke("one")
    assert not await keys.revoke("three")
    assert await keys.find(b"one") is None
    assert await keys.find(b"two") is not None
    assert {key.id: key.revoked_at is None for key in await keys.all()} == {
        "one": False,
        "two": True,
    }


async def test_several_keys_share_an_app(keys: KeyStore) -> None:
    for key_id, app in (("1", "shop"), ("2", "billing"), ("3", "shop")):
        await add(keys, key_id, app)
    assert [(key.app, key.id) for key in await keys.all()] == [
        ("billing", "2"),
        ("shop", "1"),
        ("shop", "3"),
    ]


async def test_no_two_keys_share_a_secret(keys: KeyStore) -> None:
    await add(keys, "one")
    with pytest.raises(StoreRefused):
        await keys.add(key_id="two", app="shop", digest=b"one", scopes=frozenset({"read"}))
