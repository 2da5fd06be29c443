from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp.abc import ResolveResult

from app.errors import NotSent, OutcomeUnknown, Refused, SubmissionError
from app.iovox.client import IovoxClient
from app.iovox.tls import tls_context
from app.model.message import Submission
from tests.iovox.certificates import Certificates
from tests.iovox.conftest import CALLBACK_SECRET, MESSAGE_ID, SECURE_KEY, SUBMISSION
from tests.iovox.listening import free_port
from tests.iovox.resolving import StaticResolver
from tests.iovox.scripted import ACCEPTED, ACTIVITY_ID, Act, Scripted, errors, http, scripted
from tests.iovox.tables import labelled
from tests.iovox.test_xml import nodes

Make = Callable[..., IovoxClient]
Check = Callable[[BaseException], None]


async def test_the_request_on_the_wire(iovox: Scripted, make_client: Make) -> None:
    assert await make_client(iovox.url + "/").send(SUBMISSION) == ACTIVITY_ID
    lines = iovox.heads[0].split("\r\n")
    assert lines[0] == "POST /SMS?v=3&method=sendSms HTTP/1.1"
    assert "username: user" in lines
    assert f"secureKey: {SECURE_KEY}" in lines
    assert f"Host: {iovox.url.removeprefix('http://')}" in lines
    assert "Content-Type: application/xml; charset=utf-8" in lines
    headers = f"Content-Type: application/json,X-Custom-Header: {CALLBACK_SECRET}"
    assert nodes(iovox.bodies[0]) == [
        ("origin", "447923221231"),
        ("destination", "447723443321"),
        ("message", "the text itself"),
        ("callback_url", "https://dlr.example.com/dlr"),
        ("callback_url_headers", f"{headers},X-Message-Id: {MESSAGE_ID}"),
        ("expiry", "3"),
    ]


async def test_a_base_with_a_path(iovox: Scripted, make_client: Make) -> None:
    await make_client(f"{iovox.url}/proxy/").send(SUBMISSION)
    assert iovox.heads[0].startswith("POST /proxy/SMS?v=3&method=sendSms ")


def act(first: bytes, *, then: str = "close") -> Act:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await writer.drain()
        if then == "hang":
            await asyncio.sleep(60)
        elif then == "reset":
            writer.transport.abort()

    return play


async def drip(writer: asyncio.StreamWriter) -> None:
    """An endless response that arrives in small pieces at short intervals."""
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 9000\r\n\r\n")
    while True:
        writer.write(b"<")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless_hints(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 500\r\n\r\n"
LATER = errors((503, "Busy"))
WORDS_401 = errors((401, "HTTP 401: Unauthorized"))
WORDS_500 = errors((500, "Internal Server Error"))
SWITCHING = b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
HEAD_401 = b"HTTP/1.1 401 No\r\nContent-Length: 9\r\n\r\n"
HEAD_503 = b"HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n"
BOMB = http(201, gzip.compress(b" " * 9_000_000), Content_Encoding="gzip")
INVALID = errors((400, "Destination Invalid: abc"))
ANSWERS: list[tuple[str, bytes | Act, type[SubmissionError], str]] = [
    ("refused", http(400, INVALID), Refused, "Destination Invalid: abc"),
    ("401", http(401, WORDS_401), NotSent, "HTTP 401: Unauthorized"),
    ("503", http(503, LATER, Retry_After="7"), NotSent, "HTTP 503: Busy"),
    ("500 in words", http(500, WORDS_500), NotSent, "Internal Server Error"),
    ("500 bare", http(500), OutcomeUnknown, "HTTP 500"),
    ("502", http(502, "<html>bad gateway</html>"), OutcomeUnknown, "HTTP 502"),
    ("a redirect is not followed", http(307, Location="/SMS"), OutcomeUnknown, "HTTP 307"),
    ("201 HTML", http(201, "<html>"), OutcomeUnknown, "without an id"),
    ("switching protocols", act(SWITCHING), OutcomeUnknown, "HTTP 101"),
    ("closed with no answer", act(b""), OutcomeUnknown, "(it was closed)"),
    ("reset with no answer", act(b"", then="reset"), OutcomeUnknown, "connection failed"),
    ("not HTTP", act(b"220 smtp ready\r\n\r\n"), OutcomeUnknown, "connection failed"),
    ("half a head", act(b"HTTP/1.1 201 Cre"), OutcomeUnknown, "connection failed"),
    ("half a body", act(HEAD + b"<response>"), OutcomeUnknown, "connection failed"),
    (
        "no end of headers",
        act(HEAD[:-2] + b"X: " + b"x" * 300_000),
        OutcomeUnknown,
        "connection failed",
    ),
    ("silence", act(b"", then="hang"), OutcomeUnknown, "in time"),
    ("silence within the body", act(HEAD + b"<response>", then="hang"), OutcomeUnknown, "in time"),
    ("a drip", drip, OutcomeUnknown, "in time"),
    ("endless hints", endless_hints, OutcomeUnknown, "in time"),
    ("503, then silence", act(HEAD_503, then="hang"), NotSent, "HTTP 503"),
    ("401, then cut", act(HEAD_401), NotSent, "HTTP 401"),
    ("broken gzip", http(201, b"no gzip", Content_Encoding="gzip"), OutcomeUnknown, "unpacked"),
    ("unknown packing", http(201, ACCEPTED, Content_Encoding="br"), OutcomeUnknown, "unpacked"),
    ("a gzip bomb", BOMB, OutcomeUnknown, "larger than 64 KiB"),
]


@pytest.mark.parametrize(("answer", "kind", "says"), labelled(ANSWERS))
async def test_answers(
    iovox: Scripted,
    make_client: Make,
    no_secrets: Check,
    answer: bytes | Act,
    kind: type[SubmissionError],
    says: str,
) -> None:
    iovox.answer = answer
    started = time.monotonic()
    with pytest.raises(SubmissionError) as caught:
        await make_client(iovox.url, read_timeout=0.3).send(SUBMISSION)
    assert type(caught.value) is kind
    assert says in str(caught.value)
    no_secrets(caught.value)
    assert time.monotonic() - started < 1.5
    assert len(iovox.bodies) == 1, "sent more than once"


PACKED = [
    ("gzip", gzip.compress(ACCEPTED.encode())),
    ("deflate", zlib.compress(ACCEPTED.encode())),
    ("identity", ACCEPTED.encode()),
]


@pytest.mark.parametrize(("coding", "body"), PACKED, ids=[c[0] for c in PACKED])
async def test_packed_answers(iovox: Scripted, make_client: Make, coding: str, body: bytes) -> None:
    iovox.answer = http(201, body, Content_Encoding=coding)
    assert await make_client(iovox.url).send(SUBMISSION) == ACTIVITY_ID


async def test_chunked_answer(iovox: Scripted, make_client: Make) -> None:
    body = ACCEPTED.encode()
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (40, body[:40], len(body) - 40, body[40:])
    iovox.answer = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    assert await make_client(iovox.url).send(SUBMISSION) == ACTIVITY_ID


HINTS = [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"]


@pytest.mark.parametrize("hint", HINTS, ids=["100", "103"])
async def test_hints_before_the_answer(iovox: Scripted, make_client: Make, hint: bytes) -> None:
    iovox.answer = hint + http(201, ACCEPTED)
    assert await make_client(iovox.url).send(SUBMISSION) == ACTIVITY_ID


async def test_nothing_is_remembered_between_requests(iovox: Scripted, make_client: Make) -> None:
    client = make_client(iovox.url)
    iovox.answer = http(201, ACCEPTED, Set_Cookie="session=1; Path=/", Connection="close")
    await client.send(SUBMISSION)
    await client.send(SUBMISSION)
    assert iovox.heads[0] == iovox.heads[1]


async def test_retry_after_comes_along(iovox: Scripted, make_client: Make) -> None:
    iovox.answer = http(429, Retry_After="7")
    with pytest.raises(NotSent) as caught:
        await make_client(iovox.url).send(SUBMISSION)
    assert caught.value.retry_after == 7


async def test_secrets_that_iovox_quotes_are_taken_out(
    iovox: Scripted, make_client: Make, no_secrets: Check
) -> None:
    iovox.answer = http(400, errors((400, f"Headers Invalid: {CALLBACK_SECRET} for {SECURE_KEY}")))
    with pytest.raises(Refused) as caught:
        await make_client(iovox.url).send(SUBMISSION)
    assert caught.value.reasons == ("Headers Invalid: [secret] for [secret]",)
    no_secrets(caught.value)


async def test_a_huge_answer_is_not_read_to_its_end(iovox: Scripted, make_client: Make) -> None:
    written = 0

    async def pour(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 10000000\r\n\r\n")
        while written < 10_000_000:
            writer.write(b" " * 50_000)
            written += 50_000
            await writer.drain()

    iovox.answer = pour
    client = make_client(iovox.url)
    with pytest.raises(OutcomeUnknown, match="larger than 64 KiB"):
        await client.send(SUBMISSION)
    iovox.answer = http(201, ACCEPTED)
    assert await client.send(SUBMISSION) == ACTIVITY_ID
    assert iovox.connections == 2
    assert written < 10_000_000


async def test_a_connection_is_used_again(iovox: Scripted, make_client: Make) -> None:
    client = make_client(iovox.url)
    for _ in range(5):
        await client.send(SUBMISSION)
    iovox.answer = http(400, errors((400, "Origin Empty")))
    with pytest.raises(Refused):
        await client.send(SUBMISSION)
    assert iovox.connections == 1


async def test_a_connection_that_the_server_closed_is_not_used_again(
    iovox: Scripted, make_client: Make
) -> None:
    client = make_client(iovox.url)
    await client.send(SUBMISSION)
    iovox.hang_up()
    await asyncio.sleep(0.05)
    assert await client.send(SUBMISSION) == ACTIVITY_ID
    assert iovox.connections == 2


UNREACHABLE = [
    ("refused", lambda: f"http://127.0.0.1:{free_port()}"),
    ("no such name", lambda: "http://iovox.invalid"),
    ("no such name, with TLS", lambda: "https://iovox.invalid:444"),
]


@pytest.mark.parametrize("url", labelled(UNREACHABLE))
async def test_no_connection_is_not_sent(
    make_client: Make, no_secrets: Check, url: Callable[[], str]
) -> None:
    with pytest.raises(NotSent, match="could not be reached") as caught:
        await make_client(url()).send(SUBMISSION)
    assert not caught.value.reached
    no_secrets(caught.value)


async def test_a_silent_tls_handshake_is_not_sent(make_client: Make) -> None:
    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(NotSent, match="ConnectTimeout"):
        await make_client(f"https://127.0.0.1:{port}", connect_timeout=0.2).send(SUBMISSION)
    await asyncio.sleep(0.4)
    server.close()


async def test_plain_http_where_tls_is_due_is_not_sent(iovox: Scripted, make_client: Make) -> None:
    with pytest.raises(NotSent):
        await make_client(iovox.url.replace("http:", "https:"), connect_timeout=0.3).send(
            SUBMISSION
        )
    assert iovox.bodies == []


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate and its key in one file, for 127.0.0.1 only."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    command += f" -addext subjectAltName=IP:127.0.0.1 -keyout {path} -out {path}.crt"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.mark.parametrize(
    ("trusted", "host", "sent"),
    [
        pytest.param(False, "127.0.0.1", False, id="self-signed"),
        pytest.param(True, "localhost", False, id="another host's"),
        pytest.param(True, "127.0.0.1", True, id="trusted"),
    ],
)
async def test_tls_is_verified(
    make_client: Make,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
    trusted: bool,
    host: str,
    sent: bool,
) -> None:
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    async with scripted(context) as iovox:
        client = make_client(iovox.url.replace("127.0.0.1", host))
        if sent:
            assert await client.send(SUBMISSION) == ACTIVITY_ID
            assert await client.send(SUBMISSION) == ACTIVITY_ID
            assert iovox.connections == 1
        else:
            with pytest.raises(NotSent, match="certificate verify failed") as caught:
                await client.send(SUBMISSION)
            assert not caught.value.reached
            assert iovox.bodies == []
        await client.aclose()


async def test_an_authority_of_our_own_is_trusted(
    make_client: Make, certificates: Certificates
) -> None:
    async with scripted(certificates.server_context()) as iovox:
        trusting = make_client(iovox.url, tls=tls_context(certificates.ca))
        assert await trusting.send(SUBMISSION) == ACTIVITY_ID
        with pytest.raises(NotSent, match="certificate verify failed"):
            await make_client(iovox.url).send(SUBMISSION)
        assert len(iovox.bodies) == 1
        await trusting.aclose()


def test_an_authority_of_our_own_is_trusted_besides_the_others(certificates: Certificates) -> None:
    usual = {authority["serialNumber"] for authority in tls_context().get_ca_certs()}
    both = {each["serialNumber"] for each in tls_context(certificates.ca).get_ca_certs()}
    assert usual < both


FILES = [
    ("missing", None, "cannot be read: No such file"),
    ("empty", "", "no certificate in PEM form"),
    ("no PEM", "hello", "no certificate in PEM form"),
    ("broken PEM", "-----BEGIN CERTIFICATE-----\nhello\n", "no certificate in PEM form"),
]


@pytest.mark.parametrize(("content", "says"), labelled(FILES))
def test_a_file_without_an_authority(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=says) as caught:
        tls_context(path)
    assert str(path) in str(caught.value)


def test_a_folder_without_an_authority(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Is a directory|no certificate in PEM form"):
        tls_context(tmp_path)


async def test_no_free_connection_is_not_sent(iovox: Scripted, make_client: Make) -> None:
    iovox.answer = act(b"", then="hang")
    client = make_client(iovox.url, max_connections=2, pool_timeout=0.2, read_timeout=0.6)
    results = await asyncio.gather(
        *(client.send(SUBMISSION) for _ in range(5)), return_exceptions=True
    )
    assert [type(r) for r in results] == [OutcomeUnknown] * 2 + [NotSent] * 3
    assert len(iovox.bodies) == 2


async def test_nothing_is_written_while_throttled(iovox: Scripted, make_client: Make) -> None:
    client = make_client(iovox.url, max_connections=1)
    slot = asyncio.Event()

    async def throttle() -> None:
        await slot.wait()

    cancelled = asyncio.create_task(client.send(SUBMISSION, throttle=throttle))
    waits = asyncio.create_task(client.send(SUBMISSION, throttle=throttle))
    await asyncio.sleep(0.1)
    assert iovox.bodies == []
    cancelled.cancel()
    await asyncio.sleep(0.1)
    assert iovox.bodies == []
    slot.set()
    assert await waits == ACTIVITY_ID
    assert len(iovox.bodies) == 1


async def test_sends_wait_their_turn(iovox: Scripted, make_client: Make) -> None:
    client = make_client(iovox.url, max_connections=3)
    assert await asyncio.gather(*(client.send(SUBMISSION) for _ in range(60))) == [ACTIVITY_ID] * 60
    assert iovox.connections <= 3


async def test_cancelling_leaves_every_connection_usable(
    iovox: Scripted, make_client: Make
) -> None:
    client = make_client(iovox.url, max_connections=2)
    iovox.answer = act(b"", then="hang")
    for delay in (0, 0.001, 0.003, 0.05, 0.05):
        tasks = [asyncio.create_task(client.send(SUBMISSION)) for _ in range(4)]
        await asyncio.sleep(delay)
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    iovox.answer = http(201, ACCEPTED)
    assert await asyncio.gather(*(client.send(SUBMISSION) for _ in range(6))) == [ACTIVITY_ID] * 6


async def test_longest_wait_counts_every_timeout(make_client: Make) -> None:
    client = make_client("http://iovox.invalid", pool_timeout=1, connect_timeout=5, read_timeout=30)
    assert client.max_duration == 41


RAISED = (OSError, socket.gaierror, TimeoutError, RuntimeError, ValueError, aiohttp.ClientError)


@pytest.mark.parametrize("raised", RAISED, ids=lambda kind: kind.__name__)
async def test_whatever_goes_wrong_before_the_request_is_not_sent(
    make_client: Make, no_secrets: Check, raised: type[Exception]
) -> None:
    class Broken(StaticResolver):
        async def resolve(self, *_: object, **__: object) -> list[ResolveResult]:
            raise raised(f"quotes {SECURE_KEY}")

    client = make_client("http://iovox.invalid", resolver=Broken())
    with pytest.raises(NotSent, match="could not be reached") as caught:
        await client.send(SUBMISSION)
    assert not caught.value.reached
    assert not caught.value.busy
    no_secrets(caught.value)


async def test_text_that_xml_cannot_carry_never_leaves(iovox: Scripted, make_client: Make) -> None:
    with pytest.raises(Refused, match=r"U\+0000"):
        await make_client(iovox.url).send(Submission(MESSAGE_ID, "1", "2", "nul \x00"))
    assert iovox.connections == 0


WRONG = [
    ("another scheme", "ftp://iovox.example", "user", "key"),
    ("no scheme", "api.iovox.com:444", "user", "key"),
    ("no host", "https://", "user", "key"),
    ("a label too long", f"https://{'a' * 64}.example", "user", "key"),
    ("credentials in it", "https://u:key@iovox.example", "user", "key"),
    ("a port that is none", "https://iovox.example:key", "user", "key"),
    ("no username", "https://iovox.example", "", "key"),
    ("a line break in the key", "https://iovox.example", "user", "key\r\nX: y"),
    ("a key that is not ASCII", "https://iovox.example", "user", "keyé"),
]


@pytest.mark.parametrize(("url", "username", "key"), labelled(WRONG))
async def test_what_could_never_work_is_said_at_the_start(
    make_client: Make, url: str, username: str, key: str
) -> None:
    with pytest.raises(ValueError, match=r"iovox") as caught:
        make_client(url, username=username, secure_key=key)
    assert "key" not in str(caught.value).lower().replace("securekey", "")


async def test_the_client_shows_no_secret(make_client: Make) -> None:
    assert SECURE_KEY not in repr(make_client("https://iovox.example"))
