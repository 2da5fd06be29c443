"""Each fault is what a client of a broken network would see."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.processes import wait_until
from tests.support.proxy import Mode, TcpProxy
from tests.support_tests.servers import echo, serving


class Client:
    """A connection through the proxy that is always cleaned up."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, data: bytes) -> bytes:
        self.writer.write(data)
        await self.writer.drain()
        return await self.reader.readexactly(len(data))


class Clients:
    def __init__(self, proxy: TcpProxy) -> None:
        self.proxy = proxy
        self.made: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection(self.proxy.host, self.proxy.port))
        self.made.append(client)
        return client


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    async with serving(echo) as port, TcpProxy("127.0.0.1", port) as proxy:
        clients = Clients(proxy)
        yield clients
        for client in clients.made:
            client.writer.transport.abort()
        await asyncio.sleep(0.01)


async def test_passes_data_both_ways(clients: Clients) -> None:
    client = await clients.connect()
    assert await client.ask(b"x" * 3_000_000) == b"x" * 3_000_000
    assert clients.proxy.accepted == 1


async def test_passes_a_close_of_one_direction(clients: Clients) -> None:
    client = await clients.connect()
    client.writer.write(b"hello")
    client.writer.write_eof()
    assert await client.reader.read() == b"hello<end>"


async def test_passes_a_close(clients: Clients) -> None:
    client = await clients.connect()
    await client.ask(b"hello")
    client.writer.close()
    assert await asyncio.to_thread(wait_until, lambda: not clients.proxy.sides, timeout=2)


async def test_refuse_resets_what_exists_and_refuses_what_is_new(clients: Clients) -> None:
    client = await clients.connect()
    await client.ask(b"hello")
    await clients.proxy.switch("refuse")
    with pytest.raises(ConnectionResetError):
        await client.reader.read()
    with pytest.raises(ConnectionRefusedError):
        await clients.connect()
    await clients.proxy.switch("pass")
    assert await (await clients.connect()).ask(b"again") == b"again"


async def test_reset_accepts_and_resets(clients: Clients) -> None:
    before = await clients.connect()
    await before.ask(b"hello")
    await clients.proxy.switch("reset")
    with pytest.raises(ConnectionResetError):
        await before.reader.read()
    after = await clients.connect()
    with pytest.raises(ConnectionResetError):
        await after.reader.read()


async def test_blackhole_swallows_on_connections_old_and_new(clients: Clients) -> None:
    before = await clients.connect()
    await before.ask(b"hello")
    await clients.proxy.switch("blackhole")
    after = await clients.connect()
    for client in (before, after):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.ask(b"lost")
    await clients.proxy.switch("pass")
    for client in (before, after):
        with pytest.raises(ConnectionResetError):
            await client.reader.read()


async def test_a_close_inside_a_blackhole_is_not_seen_either(clients: Clients) -> None:
    client = await clients.connect()
    await client.ask(b"hello")
    await clients.proxy.switch("blackhole")
    client.writer.close()
    await asyncio.sleep(0.05)
    assert len(clients.proxy.sides) >= 1


async def test_delay_holds_up_and_keeps_the_order(clients: Clients) -> None:
    await clients.proxy.switch("pass", delay=0.05)
    client = await clients.connect()
    loop = asyncio.get_running_loop()
    started = loop.time()
    said = b"".join(f"{n:06}".encode() for n in range(20_000))
    assert await client.ask(said) == said
    assert loop.time() - started >= 0.1  # both ways


async def test_cut_answers_lets_the_request_arrive_and_resets_at_the_answer() -> None:
    heard = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(5) == b"hello"
        heard.set()
        writer.write(b"an answer")
        await writer.drain()
        await reader.read()

    async with serving(hear) as port, TcpProxy("127.0.0.1", port) as proxy:
        await proxy.switch(Mode.CUT_ANSWERS)
        client = await Clients(proxy).connect()
        with pytest.raises(ConnectionResetError):
            await client.ask(b"hello")
        assert heard.is_set()
        client.writer.transport.abort()
        await asyncio.sleep(0.01)


async def test_a_target_that_is_down_resets(clients: Clients) -> None:
    async with TcpProxy("127.0.0.1", 9) as proxy:
        client = await Clients(proxy).connect()
        with pytest.raises(ConnectionResetError):
            await client.reader.read()
        client.writer.transport.abort()
        await asyncio.sleep(0.01)
