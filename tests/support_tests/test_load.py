"""The load generator counts every request once: as an answer, as an error or as not sent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.load import Result, drive, get, post
from tests.support.proxy import TcpProxy
from tests.support_tests.servers import Talk, serving


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.startswith(b"Content-Length:")
    ]
    return await reader.readexactly(length[0]) if length else b""


def answering(answer: bytes, *, pieces: int = 1) -> Talk:
    """Reads requests and answers each with the same bytes, in so many pieces."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            body = await read_request(reader)
            said = answer.replace(b"<body>", body)
            step = -(-len(said) // pieces)
            for at in range(0, len(said), step):
                writer.write(said[at : at + step])
                await writer.drain()
                await asyncio.sleep(0)
            if b"close" in answer:
                return

    return talk


CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 6\r\n\r\n<body>"


def numbered(count: int) -> Iterator[bytes]:
    for n in range(count):
        yield post("/dlr", {"X-Secret": "s"}, f"{n:06}".encode())


def test_builds_requests_byte_by_byte() -> None:
    assert post("/a", {"B": "c"}, b"de") == (
        b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nB: c\r\nContent-Length: 2\r\n\r\nde"
    )
    assert get("/a") == b"GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


ANSWERS = {
    "with a length": (CREATED, 201),
    "with the length written otherwise": (
        b"HTTP/1.1 200 OK\r\ncontent-length:6\r\n\r\n<body>",
        200,
    ),
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n<body>\r\n0\r\n\r\n",
        200,
    ),
    "and a close": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<body>",
        200,
    ),
}


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(("answer", "status"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_each_request_has_its_own_answer(answer: bytes, status: int, pieces: int) -> None:
    bodies: dict[int, bytes] = {}
    seen: list[tuple[int, int]] = []
    async with serving(answering(answer, pieces=pieces)) as port:
        result = await drive(
            "127.0.0.1",
            port,
            numbered(300),
            8,
            lambda index, status, seconds: seen.append((index, status)),
            on_body=bodies.__setitem__,
        )
    assert bodies == {n: f"{n:06}".encode() for n in range(300)}
    assert sorted(seen) == [(n, status) for n in range(300)]
    assert (result.answers, result.statuses, result.errors) == (300, {status: 300}, Counter())
    assert 0 < result.p50 <= result.p99 <= result.seconds


async def test_an_answer_without_a_body() -> None:
    async with serving(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as port:
        result = await drive("127.0.0.1", port, numbered(20), 2)
    assert result.statuses == {204: 20}


async def test_an_async_producer_sets_the_pace() -> None:
    async def paced() -> AsyncIterator[bytes]:
        for data in numbered(10):
            await asyncio.sleep(0.01)
            yield data

    async with serving(answering(CREATED)) as port:
        result = await drive("127.0.0.1", port, paced(), 3)
    assert result.answers == 10
    assert result.seconds >= 0.1


async def test_a_fast_async_producer_waits_for_connections() -> None:
    async def fast() -> AsyncIterator[bytes]:
        for data in numbered(200):
            yield data

    async with serving(answering(CREATED)) as port:
        result = await drive("127.0.0.1", port, fast(), 3)
    assert result.answers == 200


async def test_connections_start_one_after_the_other() -> None:
    came: list[float] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            came.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.3)
            writer.write(CREATED.replace(b"<body>", b"noted."))

    async with serving(note) as port:
        result = await drive("127.0.0.1", port, numbered(6), 3, spread=0.3)
    assert result.answers == 6
    starts = [at - came[0] for at in came]
    assert 0.08 < starts[1] < starts[2]
    assert 0.18 < starts[2] < starts[3]  # of them all the first is free again first


async def test_fewer_requests_than_connections() -> None:
    async with serving(answering(CREATED)) as port:
        result = await drive("127.0.0.1", port, numbered(2), 5)
    assert result.answers == 2


async def test_a_cut_connection_is_an_error_and_what_is_left_is_not_sent() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)

    async with serving(cut) as port:
        result = await drive("127.0.0.1", port, numbered(10), 4)
    assert result.errors == {"connection cut": 4, "not sent": 6}


@pytest.mark.parametrize("producer", ["iterable", "async"])
async def test_goes_on_after_a_cut_if_told_so(producer: str) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(0.005)
            writer.write(CREATED.replace(b"<body>", b"123456"))

    async def produce() -> AsyncIterator[bytes]:
        for data in numbered(400):
            yield data

    async def cut_twice(proxy: TcpProxy) -> None:
        await asyncio.sleep(0.1)
        await proxy.cut()
        await asyncio.sleep(0.15)
        await proxy.switch("refuse")
        await asyncio.sleep(0.2)
        await proxy.switch("pass")

    async with serving(slow) as port, TcpProxy("127.0.0.1", port) as proxy:
        cutting = asyncio.create_task(cut_twice(proxy))
        requests = numbered(400) if producer == "iterable" else produce()
        result = await drive("127.0.0.1", proxy.port, requests, 4, reconnect=True)
        await cutting
    assert result.errors["connection cut"] >= 4
    assert total(result) == 400
    assert not result.errors["not sent"]


async def test_an_answer_that_never_comes_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as port:
        result = await drive("127.0.0.1", port, numbered(3), 3, give_up_after=0.2)
    assert result.errors == {"time-out": 3}


async def test_a_failed_check_of_the_callers_is_raised() -> None:
    def check(index: int, status: int, seconds: float) -> None:
        assert index < 5, "the sixth is wrong"

    async with serving(answering(CREATED)) as port:
        with pytest.raises(AssertionError, match="the sixth is wrong"):
            await drive("127.0.0.1", port, numbered(100), 2, check)


async def test_what_is_not_http_is_raised() -> None:
    async with serving(answering(b"SMTP ready, go ahead\r\n\r\n")) as port:
        with pytest.raises(ValueError, match="invalid literal"):
            await drive("127.0.0.1", port, numbered(10), 2)


async def test_a_server_that_is_down_is_raised() -> None:
    with pytest.raises(ConnectionRefusedError):
        await drive("127.0.0.1", 9, numbered(1), 1)


def total(result: Result) -> int:
    return result.answers + sum(result.errors.values())
