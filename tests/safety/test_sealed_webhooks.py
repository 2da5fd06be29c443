"""Webhooks' secrets in the database: encrypted where there is a key, and usable all the same."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AsyncExitStack, closing
from pathlib import Path

import pytest

from app.parts.sealing import Sealer, new_key
from tests.cli.here import dlr
from tests.events.receiver import receiving
from tests.send.world import SECRET, World, to, until

OLD, NEW = new_key(), new_key()
WEBHOOKS = {
    "webhook_allow_http": True,
    "webhook_allowed_networks": "127.0.0.0/8",
    "webhook_first_retry": 0.05,
    "webhook_longest_retry": 0.2,
}


@pytest.fixture
def file(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "dlr.db"
    path.write_bytes((sqlite_template / "dlr.db").read_bytes())
    return path


def stored(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute("select secret from webhooks order by id")]


async def test_sealed_secrets_sign_and_are_rotated_by_a_command(file: Path) -> None:
    url = f"sqlite:///{file}"
    async with AsyncExitStack() as stack, receiving() as receiver:
        world = World(url, stack)
        iovox = await world.iovox()
        plain = await world.service(iovox, **WEBHOOKS)
        key = await plain.key("billing", "webhooks", "send", "read")
        first = await plain.client.post("/v1/webhooks", json={"url": receiver.url}, headers=key)
        assert stored(file) == [first.json()["secret"]]  # as before there was a key
        env = {"DLR_DATABASE_URL": url}
        done = await asyncio.to_thread(dlr, ["secrets", "encrypt"], env)
        assert done.returncode == 2  # no key
        done = await asyncio.to_thread(
            dlr, ["secrets", "encrypt"], env | {"DLR_ENCRYPTION_KEY": OLD}
        )
        assert (done.returncode, done.stdout) == (0, "Encrypted the secrets of 1 webhooks.\n")
        (sealed,) = stored(file)
        assert Sealer(OLD).open(sealed) == first.json()["secret"]
        assert first.json()["secret"] not in sealed
        done = await asyncio.to_thread(
            dlr, ["secrets", "encrypt"], env | {"DLR_ENCRYPTION_KEY": f"{NEW},{OLD}"}
        )
        assert Sealer(NEW).open(stored(file)[0]) == first.json()["secret"]
        done = await asyncio.to_thread(
            dlr, ["secrets", "encrypt"], env | {"DLR_ENCRYPTION_KEY": OLD}
        )
        assert done.returncode == 1
        assert "1 webhooks have a secret that none of the keys decrypts" in done.stderr

        service = await world.service(iovox, encryption_key=NEW, **WEBHOOKS)
        anew = await service.client.post(f"/v1/webhooks/{first.json()['id']}/secret", headers=key)
        assert anew.status_code == 200
        assert Sealer(NEW).open(stored(file)[0]) == anew.json()["secret"] != first.json()["secret"]
        done = await asyncio.to_thread(
            dlr, ["secrets", "encrypt", "--plain"], env | {"DLR_ENCRYPTION_KEY": NEW}
        )
        assert stored(file) == [anew.json()["secret"]]


async def test_without_its_key_nothing_is_sent_unsigned(file: Path) -> None:
    async with AsyncExitStack() as stack, receiving() as receiver:
        world = World(f"sqlite:///{file}", stack)
        iovox = await world.iovox()
        async with world.another() as with_key:
            service = await with_key.service(iovox, encryption_key=NEW, **WEBHOOKS)
            key = await service.key("billing", "webhooks", "send", "read")
            made = await service.client.post(
                "/v1/webhooks", json={"url": receiver.url}, headers=key
            )
            path = f"/v1/webhooks/{made.json()['id']}"
        assert Sealer(NEW).open(stored(file)[0]) == made.json()["secret"]
        assert SECRET not in stored(file)[0]
        service = await world.service(iovox, **WEBHOOKS)
        sent = await service.post("/v1/messages", to("100"), **key)
        assert sent.status_code == 201

        async def failed() -> bool:
            answer = await service.client.get(f"{path}/deliveries", headers=key)
            return "its secret cannot be decrypted" in answer.text

        await until(failed, "a delivery that was not made")
        assert receiver.calls == []
