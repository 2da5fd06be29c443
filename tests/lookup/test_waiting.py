"""``?wait=``: the response comes at the change or at the timeout, and holds no connection."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from app.errors import StoreUnavailable
from app.lookup.waiters import StatusWaiters
from app.model.api_key import digest, new_secret
from app.model.status import Status
from app.store.engine import Database
from app.store.keys import KeyStore
from app.store.messages import MessageStore, NewMessage
from tests.lookup.world import NOW, World, faults, living
from tests.store.samples import message as sample
from tests.support.process import ServerProcess, free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _waits(
    world: World, name: object, seconds: float = 20, headers: dict[str, str] | None = None
) -> asyncio.Task[tuple[httpx.Response, float]]:
    """Ask, and be sure that the question has arrived."""

    async def ask() -> tuple[httpx.Response, float]:
        started = time.monotonic()
        path = f"/v1/messages/{name}?wait={seconds}"
        response = await world.admin.get(path, headers=headers, timeout=60)
        return response, time.monotonic() - started

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.3)
    return task


async def test_it_comes_with_the_change(world: World) -> None:
    message = await world.message(sms_activity_id="waited-for")
    answer = await _waits(world, message.id)
    assert not answer.done()
    await world.receipts("waited-for", ("DELIVERED", NOW))
    world.announce()
    response, seconds = await answer
    assert response.json()["status"] == "DELIVERED"
    assert seconds < 5


async def test_a_look_every_second_makes_up_for_a_lost_wake_up(world: World) -> None:
    message = await world.message(sms_activity_id="unheard")
    answer = await _waits(world, message.id)
    await world.receipts("unheard", ("FAILED", NOW))
    response, seconds = await answer
    assert response.json()["status"] == "FAILED"
    assert seconds < 8


async def test_what_is_known_only_from_receipts_can_be_waited_for(world: World) -> None:
    await world.receipts("nobodys", ("BUFFERED", NOW))
    answer = await _waits(world, "nobodys")
    await world.receipts("nobodys", ("DELIVERED", NOW))
    world.announce()
    response, _ = await answer
    assert response.json()["status"] == "DELIVERED"


async def test_a_final_status_is_told_at_once(world: World) -> None:
    message = await world.message(Status.DELIVERED)
    response, seconds = await (await _waits(world, message.id))
    assert response.json()["status"] == "DELIVERED"
    assert seconds < 5


async def test_it_waits_no_longer_than_asked(world: World) -> None:
    message = await world.message()
    response, seconds = await (await _waits(world, message.id, 0.5))
    assert response.json()["status"] == "SUBMITTED"
    assert 0.5 <= seconds < 5


async def test_a_receipt_that_changes_no_status_is_no_news(world: World) -> None:
    message = await world.message(Status.BUFFERED, sms_activity_id="told-twice")
    answer = await _waits(world, message.id, 1.5)
    await world.receipts("told-twice", ("SOMETHING", NOW))
    world.announce()
    _, seconds = await answer
    assert seconds >= 1.5


async def test_who_knows_an_older_answer_gets_the_new_one_at_once(world: World) -> None:
    message = await world.message(sms_activity_id="known")
    known = (await world.admin.get(f"/v1/messages/{message.id}")).headers["etag"]
    await world.receipts("known", ("BUFFERED", NOW))
    response, seconds = await (await _waits(world, message.id, headers={"If-None-Match": known}))
    assert response.json()["status"] == "BUFFERED"
    assert seconds < 5


async def test_who_knows_this_answer_waits_for_another(world: World) -> None:
    message = await world.message(sms_activity_id="well-known")
    known = {"If-None-Match": (await world.admin.get(f"/v1/messages/{message.id}")).headers["etag"]}
    in_vain, seconds = await (await _waits(world, message.id, 0.5, known))
    assert in_vain.status_code == 304
    assert seconds >= 0.5
    answer = await _waits(world, message.id, headers=known)
    await world.receipts("well-known", ("DELIVERED", NOW))
    world.announce()
    response, _ = await answer
    assert (response.status_code, response.json()["status"]) == (200, "DELIVERED")


async def test_another_apps_message_is_not_waited_for(world: World) -> None:
    message = await world.message(app="billing")
    started = time.monotonic()
    response = await world.as_app("shipping").get(f"/v1/messages/{message.id}?wait=20")
    assert response.status_code == 404
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "query", ["wait=61", "wait=-1", "wait=", "wait=soon", "wait=1&wait=2", "wait=nan", "wait=1e3"]
)
async def test_bad_waits_are_named(world: World, query: str) -> None:
    assert "wait" in faults(await world.admin.get(f"/v1/messages/{uuid4()}?{query}"))


async def test_unknown_parameters_are_named(world: World) -> None:
    assert "until" in faults(await world.admin.get(f"/v1/messages/{uuid4()}?until=1"))


async def test_those_who_wait_hold_no_connection(shared_url: str) -> None:
    async with living(shared_url, database_pool=3) as world:
        message = await world.message(sms_activity_id=f"held-{uuid4()}")
        waiting = [await _waits(world, message.id, 5)]
        waiting += [asyncio.create_task(_ask(world, message.id)) for _ in range(200)]
        await asyncio.sleep(0.5)
        response = await asyncio.wait_for(world.admin.get(f"/v1/messages/{message.id}"), 5)
        assert response.status_code == 200
        assert not any(task.done() for task in waiting)
        world.service.runtime.end_streams()
        answers = [(await task)[0].status_code for task in waiting]
        assert answers == [200] * 201


async def _ask(world: World, name: UUID) -> tuple[httpx.Response, float]:
    return await world.admin.get(f"/v1/messages/{name}?wait=30", timeout=60), 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_that_stops_keeps_nobody_waiting(
    sqlite_url: str, tmp_path: Path, number: int
) -> None:
    message, secret, port = sample(Status.QUEUED), new_secret(), free_port()
    database = Database(sqlite_url)
    try:
        keys = KeyStore(database)
        await keys.add(
            key_id=uuid4().hex[:8], app="x", digest=digest(secret), scopes=frozenset({"admin"})
        )
        await MessageStore(database).add([NewMessage(message)])
    finally:
        await database.close()
    url = f"http://127.0.0.1:{port}"
    env = {
        "DLR_DATABASE_URL": sqlite_url,
        "DLR_PUBLIC_URL": url,
        "DLR_CALLBACK_URL_HEADERS": "X-Secret: of-the-tests",
        "DLR_IOVOX_USERNAME": "someone",
        "DLR_IOVOX_SECURE_KEY": "a-key",
        "DLR_IOVOX_URL": "http://127.0.0.1:9",
    }
    args = ["serve", "--port", str(port), "--no-workers"]
    server = await asyncio.to_thread(ServerProcess.fork, args, env, f"{url}/healthz", cwd=tmp_path)
    with server:
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {secret}"}) as client:
            path = f"{url}/v1/messages/{message.id}?wait=60"
            answer = asyncio.create_task(client.get(path, timeout=90))
            await asyncio.sleep(1)
            assert not answer.done()
            os.kill(server.pid, number)
            response = await asyncio.wait_for(answer, 10)
        assert response.json()["status"] == "QUEUED"
        await asyncio.to_thread(server.wait, 15)


def _answering(*answers: Mapping[str, str] | Exception) -> Callable[..., Awaitable[dict[str, str]]]:
    left = list(answers)

    async def statuses(_keys: Collection[str]) -> dict[str, str]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    return statuses


async def test_a_database_that_is_away_for_a_while_only_makes_it_later() -> None:
    away = StoreUnavailable("away")
    waiters: StatusWaiters[str] = StatusWaiters(_answering(away, away, {"a": "DELIVERED"}))
    run = asyncio.create_task(waiters.run())
    try:
        async with asyncio.timeout(10):
            await waiters.wait_for_change("a", "SUBMITTED", 30)
    finally:
        run.cancel()


async def test_beyond_its_capacity_nobody_waits() -> None:
    waiters: StatusWaiters[str] = StatusWaiters(_answering({}), capacity=1)
    first = asyncio.create_task(waiters.wait_for_change("a", "SUBMITTED", 1))
    await asyncio.sleep(0)
    async with asyncio.timeout(0.5):
        await waiters.wait_for_change("b", "SUBMITTED", 30)
    await first
