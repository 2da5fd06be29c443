"""The server's own part of HTTP: slow callers, and what happens to connections when it stops."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from app.server.complete_posts import CompletePostHttp
from app.server.process import GracefulServer
from tests.support.ports import free_port

REQUEST = b"POST /dlr HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"POST /dlr HTTP/1.1\r\nHost: x\r\n"
HEAD_TIMEOUT = 0.3
KEEP_ALIVE = 1
MOMENT = 0.2
"""Longer than the server takes to notice that it was told to stop."""


class Hasty(CompletePostHttp):
    """The same, for tests that have no time."""

    head_timeout = HEAD_TIMEOUT
    idle_grace = 0.5


async def answer_ok(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body, takes a moment, answers."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(MOMENT)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
    )
    await send({"type": "http.response.body"})


class Closing(Hasty):
    """It keeps idle connections for an instant when it stops, and gives a head its time."""

    head_timeout = 5.0
    idle_grace = 0.01


@pytest_asyncio.fixture(params=[Hasty])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[GracefulServer]:
    config = Config(
        answer_ok,
        port=free_port(),
        http=request.param,
        lifespan="off",
        log_config=None,
        timeout_keep_alive=KEEP_ALIVE,
    )
    server = GracefulServer(config)
    gc.freeze()  # what the tests have collected: it would be looked through at each start
    running = asyncio.create_task(server._serve())  # without its signal handlers
    while not server.started:  # noqa: ASYNC110  it has no event for that
        await asyncio.sleep(0.01)
    yield server
    server.should_exit = True
    await running
    gc.freeze()


Link = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: GracefulServer) -> Link:
    return await asyncio.open_connection("127.0.0.1", server.config.port)


async def ask(link: Link, request: bytes = REQUEST) -> bytes:
    link[1].write(request)
    return await link[0].readuntil(b"\r\n\r\n")


async def until_closed(link: Link) -> tuple[bytes, float]:
    """What still came, and the seconds until the other side closed."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        rest = await link[0].read()
    link[1].close()
    return rest, time.monotonic() - began


async def test_connections_are_kept(server: GracefulServer) -> None:
    link = await connect(server)
    for _ in range(3):
        assert b"200 OK" in await ask(link)
        await asyncio.sleep(HEAD_TIMEOUT * 1.5)
    link[1].close()


async def test_no_garbage_is_looked_for_in_what_was_there_at_the_start(
    server: GracefulServer,
) -> None:
    assert server.started
    assert gc.get_freeze_count() > 10_000


async def test_requests_in_one_go_are_all_answered(server: GracefulServer) -> None:
    link = await connect(server)
    link[1].write(REQUEST * 3)
    for _ in range(3):
        assert b"200 OK" in await link[0].readuntil(b"\r\n\r\n")
    link[1].close()


async def test_a_head_that_never_ends_is_given_up(server: GracefulServer) -> None:
    link = await connect(server)
    link[1].write(HEAD)
    rest, seconds = await until_closed(link)
    assert rest.startswith(b"HTTP/1.1 408")
    assert HEAD_TIMEOUT <= seconds + 0.01 < HEAD_TIMEOUT + 0.7


async def test_a_head_that_dribbles_in_is_given_up_as_well(server: GracefulServer) -> None:
    link = await connect(server)
    closed = asyncio.create_task(until_closed(link))
    for byte in HEAD * 3:
        if closed.done():
            break
        link[1].write(bytes([byte]))
        await asyncio.sleep(0.02)
    rest, seconds = await closed
    assert rest.startswith(b"HTTP/1.1 408")
    assert seconds < HEAD_TIMEOUT + 0.7


async def test_the_second_head_has_its_own_time(server: GracefulServer) -> None:
    link = await connect(server)
    assert b"200 OK" in await ask(link)
    await asyncio.sleep(HEAD_TIMEOUT * 1.2)
    link[1].write(HEAD)
    await asyncio.sleep(HEAD_TIMEOUT * 0.5)
    assert b"200 OK" in await ask(link, b"Content-Length: 0\r\n\r\n")
    link[1].close()


async def test_a_connection_that_says_nothing_is_kept_like_an_idle_one(
    server: GracefulServer,
) -> None:
    rest, seconds = await until_closed(await connect(server))
    assert rest == b""
    assert KEEP_ALIVE <= seconds + 0.01 < KEEP_ALIVE + 1


async def test_stopping_answers_what_is_being_answered(server: GracefulServer) -> None:
    link = await connect(server)
    link[1].write(REQUEST)
    await asyncio.sleep(0.02)
    server.should_exit = True
    rest, _ = await until_closed(link)
    assert b"200 OK" in rest
    assert b"connection: close" in rest


async def test_an_idle_connection_may_ask_once_more_and_is_then_closed(
    server: GracefulServer,
) -> None:
    used, idle = await connect(server), await connect(server)
    assert b"200 OK" in await ask(used)
    server.should_exit = True
    await asyncio.sleep(0.3)  # it has been told by now
    assert b"connection: close" in await ask(used)
    assert (await until_closed(used))[0] == b""
    rest, seconds = await until_closed(idle)
    assert rest == b""
    assert seconds < Hasty.idle_grace + 0.7


@pytest.mark.parametrize("server", [Closing], indirect=True)
async def test_a_head_that_has_begun_is_waited_for(server: GracefulServer) -> None:
    link = await connect(server)
    assert b"200 OK" in await ask(link)
    link[1].write(HEAD)
    await asyncio.sleep(0.05)
    server.should_exit = True
    await asyncio.sleep(3 * MOMENT)  # the grace is over
    assert b"connection: close" in await ask(link, b"Content-Length: 2\r\n\r\n{}")
    assert (await until_closed(link))[0] == b""


async def test_whoever_the_kernel_had_connected_is_answered(server: GracefulServer) -> None:
    """Connected and sent, while the event loop was busy; then we are told to stop."""
    callers = [socket.create_connection(("127.0.0.1", server.config.port)) for _ in range(20)]
    for caller in callers:
        caller.sendall(REQUEST)
    await server.shutdown()  # before the event loop has had a turn to accept anyone
    for caller in callers:
        caller.settimeout(5)
        assert b"200 OK" in caller.recv(1_000)
        caller.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.config.port))
