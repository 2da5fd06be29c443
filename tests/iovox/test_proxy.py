"""Through an HTTP proxy: the usual way out, as iovox's keys are bound to source addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from yarl import URL

from app.errors import NotSent, OutcomeUnknown
from app.iovox.client import IovoxClient
from app.iovox.proxy import find_proxy
from app.iovox.tls import tls_context
from tests.iovox.certificates import Certificates
from tests.iovox.conftest import SECURE_KEY, SUBMISSION
from tests.iovox.listening import close, flush, free_port
from tests.iovox.proxying import CREDENTIALS, PASSWORD, TUNNEL, Proxy, proxying
from tests.iovox.scripted import ACTIVITY_ID, Act, Scripted, http, scripted
from tests.iovox.tables import labelled

Make = Callable[..., IovoxClient]
Check = Callable[[BaseException], None]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxying() as made:
        yield made


@pytest.fixture
async def tls_iovox(certificates: Certificates) -> AsyncIterator[Scripted]:
    async with scripted(certificates.server_context()) as server:
        yield server


@pytest.mark.parametrize("credentials", ["", CREDENTIALS])
async def test_connect(
    proxy: Proxy,
    tls_iovox: Scripted,
    make_client: Make,
    certificates: Certificates,
    credentials: str,
) -> None:
    proxy.wants_credentials = bool(credentials)
    client = make_client(
        tls_iovox.url, proxy=URL(proxy.url(credentials)), tls=tls_context(certificates.ca)
    )
    for _ in range(3):
        assert await client.send(SUBMISSION) == ACTIVITY_ID
    assert len(proxy.heads) == 1, "the connection was not used again"
    assert proxy.heads[0].startswith(f"CONNECT {tls_iovox.url.removeprefix('https://')} HTTP/1.1")
    assert SECURE_KEY not in proxy.heads[0]
    assert ("Proxy-Authorization" in proxy.heads[0]) == bool(credentials)
    assert len(tls_iovox.bodies) == 3
    assert all("Proxy-" not in head for head in tls_iovox.heads)


@pytest.mark.parametrize("credentials", ["", CREDENTIALS])
async def test_a_plain_iovox(
    proxy: Proxy, iovox: Scripted, make_client: Make, credentials: str
) -> None:
    proxy.wants_credentials = bool(credentials)
    client = make_client(iovox.url, proxy=URL(proxy.url(credentials)))
    for _ in range(3):
        assert await client.send(SUBMISSION) == ACTIVITY_ID
    assert len(proxy.heads) == 1, "the connection was not used again"
    assert proxy.heads[0].startswith(f"POST {iovox.url}/SMS?v=3&method=sendSms HTTP/1.1")
    assert len(iovox.bodies) == 3


def say(answer: bytes, *, then: str = "close") -> Act:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await flush(writer)
        if then == "hang":
            await asyncio.sleep(60)

    return play


async def endless_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


CONNECT_ANSWERS: list[tuple[str, Act, str]] = [
    ("403", say(http(403, "no")), "the proxy refused with HTTP 403"),
    ("407", say(http(407, "who?", Proxy_Authenticate="Basic")), "the proxy refused with HTTP 407"),
    ("502", say(http(502, "<html>")), "the proxy refused with HTTP 502"),
    ("502, then silence", say(http(502, "<html>")[:-3], then="hang"), "HTTP 502"),
    ("a redirect", say(http(302, Location="http://127.0.0.1:1/")), "HTTP 302"),
    ("another 2xx", say(b"HTTP/1.1 204 No\r\n\r\n"), "HTTP 204"),
    ("closed at once", say(b""), "failed"),
    ("no HTTP", say(b"220 smtp ready\r\n\r\n"), "failed"),
    ("no end of its head", say(b"HTTP/1.1 200 X\r\nX: " + b"x" * 300_000), "failed"),
    ("silence", say(b"", then="hang"), "ConnectTimeout"),
    ("endless hints", endless_hints, "ConnectTimeout"),
    ("a tunnel that ends at once", say(TUNNEL), ""),
    ("a tunnel into silence", say(TUNNEL, then="hang"), "ConnectTimeout"),
    ("a tunnel to no TLS", say(TUNNEL + b"220 smtp ready\r\n", then="hang"), ""),
]


@pytest.mark.parametrize(("act", "says"), labelled(CONNECT_ANSWERS))
async def test_a_proxy_that_refuses_is_surely_not_sent(
    proxy: Proxy,
    tls_iovox: Scripted,
    make_client: Make,
    no_secrets: Check,
    certificates: Certificates,
    act: Act,
    says: str,
) -> None:
    proxy.act = act
    client = make_client(
        tls_iovox.url,
        proxy=URL(proxy.url(CREDENTIALS)),
        tls=tls_context(certificates.ca),
        connect_timeout=0.3,
    )
    with pytest.raises(NotSent, match="iovox could not be reached: ") as caught:
        await client.send(SUBMISSION)
    assert says in str(caught.value)
    assert not caught.value.reached
    assert not caught.value.busy
    no_secrets(caught.value)
    assert len(proxy.heads) == 1, "asked more than once"
    assert tls_iovox.bodies == []


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_an_answer_to_connect_cut_at_any_byte(
    proxy: Proxy, tls_iovox: Scripted, make_client: Make, how: str
) -> None:
    client = make_client(tls_iovox.url, proxy=URL(proxy.url()))
    for size in range(len(TUNNEL) + 1):

        async def cut(writer: asyncio.StreamWriter, size: int = size) -> None:
            writer.write(TUNNEL[:size])
            await close(writer, how)

        proxy.act = cut
        with pytest.raises(NotSent) as caught:
            await client.send(SUBMISSION)
        assert not caught.value.reached
        assert len(proxy.heads) == size + 1, "asked more than once"


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_request_lost_in_the_tunnel_is_unknown(
    proxy: Proxy, tls_iovox: Scripted, make_client: Make, certificates: Certificates, how: str
) -> None:
    client = make_client(tls_iovox.url, proxy=URL(proxy.url()), tls=tls_context(certificates.ca))
    assert await client.send(SUBMISSION) == ACTIVITY_ID

    async def cut(writer: asyncio.StreamWriter) -> None:
        await close(writer, how)

    tls_iovox.answer = cut
    with pytest.raises(OutcomeUnknown):
        await client.send(SUBMISSION)
    assert (len(tls_iovox.bodies), len(proxy.heads)) == (2, 1), "sent more than once"


async def test_the_certificate_is_checked_behind_the_proxy(
    proxy: Proxy, tls_iovox: Scripted, make_client: Make
) -> None:
    with pytest.raises(NotSent, match="certificate verify failed"):
        await make_client(tls_iovox.url, proxy=URL(proxy.url())).send(SUBMISSION)
    assert tls_iovox.bodies == []


@pytest.mark.parametrize("url", ["http://iovox.invalid", "https://iovox.invalid:444"])
@pytest.mark.parametrize("where", ["refused", "no such name"])
async def test_no_connection_to_the_proxy_is_surely_not_sent(
    make_client: Make, no_secrets: Check, url: str, where: str
) -> None:
    host = f"127.0.0.1:{free_port()}" if where == "refused" else "proxy.invalid:3128"
    client = make_client(url, proxy=URL(f"http://{CREDENTIALS}@{host}"))
    with pytest.raises(NotSent, match=host) as caught:
        await client.send(SUBMISSION)
    assert not caught.value.reached
    no_secrets(caught.value)


@pytest.mark.parametrize("status", [407, 502, 504])
async def test_what_a_proxy_answers_to_a_plain_request_is_unknown(
    proxy: Proxy, iovox: Scripted, make_client: Make, no_secrets: Check, status: int
) -> None:
    proxy.act = say(http(status, "<html>"))
    client = make_client(iovox.url, proxy=URL(proxy.url(CREDENTIALS)))
    with pytest.raises(OutcomeUnknown, match=f"HTTP {status}") as caught:
        await client.send(SUBMISSION)
    no_secrets(caught.value)
    assert len(proxy.heads) == 1


# Which proxy.


IOVOX = "https://api.iovox.com:444"
FOUND: list[tuple[str, str, str | None, dict[str, str], str | None]] = [
    ("none", IOVOX, None, {}, None),
    ("an empty setting", IOVOX, " ", {}, None),
    ("the setting", IOVOX, "http://p:3128", {}, "http://p:3128"),
    ("the setting, IPv6", IOVOX, "http://[::1]:3128/", {}, "http://[::1]:3128/"),
    ("the setting, with credentials", IOVOX, "http://u:p%40w@p:1", {}, "http://u:p%40w@p:1"),
    ("the setting first", IOVOX, "http://p:1", {"HTTPS_PROXY": "http://q:2"}, "http://p:1"),
    ("the setting, whatever else", IOVOX, "http://p:1", {"NO_PROXY": "*"}, "http://p:1"),
    ("HTTPS_PROXY", IOVOX, None, {"HTTPS_PROXY": "http://q:2"}, "http://q:2"),
    ("https_proxy", IOVOX, None, {"https_proxy": "http://q:2"}, "http://q:2"),
    ("without a scheme", IOVOX, None, {"HTTPS_PROXY": "q:2"}, "http://q:2"),
    ("the other scheme's", IOVOX, None, {"HTTP_PROXY": "http://q:2"}, None),
    ("HTTP_PROXY", "http://i.example", None, {"http_proxy": "http://q:2"}, "http://q:2"),
    ("NO_PROXY", IOVOX, None, {"HTTPS_PROXY": "http://q:2", "NO_PROXY": ".iovox.com"}, None),
    (
        "with port",
        IOVOX,
        None,
        {"HTTPS_PROXY": "http://q:2", "NO_PROXY": "api.iovox.com:444"},
        None,
    ),
    ("others", IOVOX, None, {"HTTPS_PROXY": "http://q:2", "no_proxy": "x.com"}, "http://q:2"),
    ("127.0.0.1", "http://127.0.0.1:80", None, {"HTTP_PROXY": "http://q:2"}, None),
    ("localhost", "http://localhost:80", None, {"HTTP_PROXY": "http://q:2"}, None),
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    def replace(variables: dict[str, str]) -> None:
        for name in ("http_proxy", "https_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return replace


@pytest.mark.parametrize(("url", "setting", "variables", "found"), labelled(FOUND))
def test_which_proxy(
    environment: Callable[[dict[str, str]], None],
    url: str,
    setting: str | None,
    variables: dict[str, str],
    found: str | None,
) -> None:
    environment(variables)
    assert find_proxy(url, setting) == (None if found is None else URL(found))


WRONG = [
    "p",
    "p:3128",
    "http://p",
    "http://",
    "http://:3128",
    "https://p:3128",
    "socks5://p:1080",
    "http://p:port",
    "http://p:99999",
    "http://p:3128/path",
    "http://p:3128?x=1",
    "http://u:\u20ac@p:3128",
    "http://u%3Av:w@p:3128",
    f"http://u:{PASSWORD}@[p:3128",
]


@pytest.mark.parametrize("written", WRONG)
def test_a_proxy_that_could_never_work(written: str) -> None:
    with pytest.raises(ValueError, match=r"DLR_IOVOX_PROXY: must be http://\[user") as caught:
        find_proxy(IOVOX, written)
    assert PASSWORD not in str(caught.value)


def test_a_variable_that_could_never_work(
    environment: Callable[[dict[str, str]], None],
) -> None:
    environment({"HTTPS_PROXY": "socks5://p:1080"})
    with pytest.raises(ValueError, match="HTTPS_PROXY: must be"):
        find_proxy(IOVOX, None)
