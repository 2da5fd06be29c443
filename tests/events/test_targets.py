"""Where webhooks may go: addresses, names, and names that change their minds."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import pytest

from app.parts.networks import read_networks
from app.webhooks.client import WebhookClient
from app.webhooks.targets import TargetRefused, Targets

from .name_servers import Answering
from .receiver import Answer, Receiver, always, receiving

CERTIFICATE = Path(__file__).with_name("receiver.test.pem")

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
INTERNAL = {
    "loopback": "127.0.0.1",
    "the whole of it": "127.255.0.9",
    "this host": "0.0.0.0",
    "private 10": "10.0.0.1",
    "private 172": "172.31.255.255",
    "private 192": "192.168.1.1",
    "link-local, metadata": "169.254.169.254",
    "carrier-grade NAT": "100.64.0.1",
    "protocol assignments": "192.0.0.8",
    "documentation": "192.0.2.1",
    "benchmarks": "198.18.0.1",
    "6to4 relays": "192.88.99.1",
    "multicast": "224.0.0.1",
    "global multicast": "239.255.255.250",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "IPv6 loopback": "::1",
    "IPv6 unspecified": "::",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%eth0",
    "IPv6 unique local": "fd00:ec2::254",
    "IPv6 site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 documentation": "2001:db8::1",
    "IPv4-mapped loopback": "::ffff:127.0.0.1",
    "IPv4-mapped private": "::ffff:10.0.0.1",
    "IPv4-compatible": "::127.0.0.1",
    "NAT64 of loopback": "64:ff9b::7f00:1",
    "NAT64 of a private one": "64:ff9b::a00:1",
    "local NAT64": "64:ff9b:1::7f00:1",
    "6to4 of loopback": "2002:7f00:1::",
    "Teredo": "2001:0:1::1",
}


def resolving(*answers: Sequence[str]) -> Targets:
    """Targets with a name server that gives these answers, one after the other."""
    return Targets(
        allow_http=True, allowed=read_networks("127.0.0.0/8"), resolver=Answering(*answers)
    )


async def judged(address: str) -> bool:
    targets = Targets(allow_http=False, resolver=Answering([address]))
    try:
        await targets.resolve("receiver.test", 443)
    except TargetRefused:
        return False
    return True


async def test_public_addresses_are_allowed() -> None:
    assert [address for address in PUBLIC if not await judged(address)] == []


async def test_internal_addresses_are_refused() -> None:
    assert [case for case, address in INTERNAL.items() if await judged(address)] == []


async def test_one_internal_address_among_many_is_enough() -> None:
    targets = resolving(["8.8.8.8", "10.0.0.1", "1.1.1.1"])
    with pytest.raises(TargetRefused):
        await targets.resolve("receiver.test", 443)


def test_internal_addresses_in_urls_are_refused() -> None:
    """No resolver is asked for those."""
    targets = Targets(allow_http=False)
    for case, address in INTERNAL.items():
        host = f"[{address}]" if ":" in address else address
        with pytest.raises(TargetRefused):
            pytest.fail(f"{case}: {targets.check(f'https://{host}/')}")


OTHER_NOTATIONS = [
    "2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "1.2.3.4.5", "a.1",
    "0x", "[fe80::1%25eth0]", "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
]  # fmt: skip


@pytest.mark.parametrize("host", OTHER_NOTATIONS)
def test_other_notations_of_addresses_are_refused(host: str) -> None:
    targets = Targets(allow_http=False)
    with pytest.raises(TargetRefused):
        targets.check(f"https://{host}/")


async def test_a_name_with_many_addresses_is_not_called_on_all_of_them() -> None:
    ipv6 = [f"2606:4700::{number:x}" for number in range(1, 100)]
    ipv4 = [f"8.8.8.{number}" for number in range(1, 100)]
    targets = resolving([*ipv6, *ipv4])
    found = [each["host"] for each in await targets.resolve("receiver.test", 443)]
    assert found == ipv6[:4] + ipv4[:4]


async def test_names_of_this_machine_are_read_from_its_file() -> None:
    """By the resolver that is used where none is given."""
    targets = Targets(allow_http=True, allowed=read_networks("127.0.0.0/8"))
    found = await targets.resolve("localhost", 80)
    await targets.close()
    assert [(each["host"], each["port"]) for each in found] == [("127.0.0.1", 80)]


LONG = ".".join(["a" * 63] * 4)
HOSTS = {
    "a dot": (".", False),
    "a hyphen": ("-", False),
    "an empty label": ("a..b", False),
    "a leading dot": (".example.com", False),
    "a leading hyphen": ("-a.example.com", False),
    "a trailing hyphen": ("a-.example.com", False),
    "a long label": ("a" * 300, False),
    "a label too long by one": ("a" * 64 + ".com", False),
    "a long name": (LONG, False),
    "a name": ("receiver.test", True),
    "one label": ("receiver", True),
    "the root": ("receiver.test.", True),
    "an underscore": ("my_app.example.com", True),
    "two hyphens": ("xn--bcher-kva.example", True),
    "as long as can be": (LONG[:253], True),
    "IPv4": ("8.8.8.8", True),
    "IPv6": ("[2606:4700::1111]", True),
    "IPv6 with IPv4": ("[::ffff:8.8.8.8]", True),
}


@pytest.mark.parametrize(("host", "possible"), HOSTS.values(), ids=HOSTS)
def test_names_that_no_server_can_have(host: str, *, possible: bool) -> None:
    targets = Targets(allow_http=False)
    if possible:
        assert targets.check(f"https://{host}/events").host
    else:
        with pytest.raises(TargetRefused):
            targets.check(f"https://{host}/events")


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.0.0.1", True),
        ("127.0.0.1", False),
        ("fd00::1", True),
        ("fe80::1", False),
    ],
)
async def test_exceptions(address: str, *, allowed: bool) -> None:
    targets = Targets(
        allow_http=False,
        allowed=read_networks(" 10.0.0.0/8,fd00::/8,"),
        resolver=Answering([address]),
    )
    if allowed:
        assert [found["host"] for found in await targets.resolve("receiver.test", 443)] == [address]
    else:
        with pytest.raises(TargetRefused):
            await targets.resolve("receiver.test", 443)


def client_of(targets: Targets) -> WebhookClient:
    tls = ssl.create_default_context(cafile=str(CERTIFICATE))
    return WebhookClient(targets=targets, tls=tls, timeout=2.0, connections=2)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as started:
        yield started


async def test_the_connection_goes_to_the_address_that_was_checked(receiver: Receiver) -> None:
    """And to no other that the name resolves to a moment later, for the next connection."""
    receiver.decide = always(Answer(headers={"Connection": "close"}))
    port = httpx.URL(receiver.url).port
    client = client_of(resolving(["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1"]))
    url = f"http://receiver.test:{port}/events?a=b"
    results = [await client.post(url, {}, b"{}") for _ in range(3)]
    await client.close()
    assert [result.succeeded for result in results] == [True, False, True]
    assert "must not reach" in (results[1].error or "")
    assert [call.headers["host"] for call in receiver.calls] == [f"receiver.test:{port}"] * 2


async def test_an_address_that_is_not_there_is_passed_over(receiver: Receiver) -> None:
    port = httpx.URL(receiver.url).port
    client = client_of(resolving(["127.0.0.99", "127.0.0.1"]))
    result = await client.post(f"http://receiver.test:{port}/", {}, b"{}")
    await client.close()
    assert result.succeeded, result


async def test_the_certificate_is_checked_against_the_name() -> None:
    async with receiving(ssl_certfile=str(CERTIFICATE), ssl_keyfile=str(CERTIFICATE)) as receiver:
        port = httpx.URL(receiver.url).port
        for name, is_taken in (("receiver.test", True), ("other.test", False)):
            client = client_of(resolving(["127.0.0.1"]))
            result = await client.post(f"https://{name}:{port}/", {}, b"{}")
            await client.close()
            assert result.succeeded is is_taken, result
        assert "certificate" in (result.error or "")
        assert len(receiver.calls) == 1


async def test_what_fails_on_the_way_is_told_in_words() -> None:
    named = Targets(allow_http=True, resolver=Answering([]))
    cases = {
        "its name could not be resolved": (named, "http://receiver.test/"),
        "it could not be reached": (resolving(["127.0.0.1"]), "http://receiver.test:9/"),
        "the URL must start with https:// or http://": (named, "ftp://receiver.test/"),
    }
    told = {}
    for words, (targets, url) in cases.items():
        client = client_of(targets)
        told[words] = (await client.post(url, {}, b"{}")).error
        await client.close()
    assert told == {words: words for words in cases}
