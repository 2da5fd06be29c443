"""Who called, as far as it can be believed."""

from __future__ import annotations

import pytest

from app.parts.networks import read_networks
from app.web.addresses import Callers

TRUSTED = read_networks("10.0.0.0/8, fd00::/8, 127.0.0.1")
CALLER = "203.0.113.7"


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        pytest.param(CALLER, [], CALLER, id="directly"),
        pytest.param(CALLER, ["198.51.100.1"], CALLER, id="a stranger's word"),
        pytest.param("10.0.0.5", [CALLER], CALLER, id="one proxy"),
        pytest.param("10.0.0.5", [f"{CALLER}, 10.0.0.6"], CALLER, id="two proxies"),
        pytest.param("10.0.0.5", [CALLER, "10.0.0.6"], CALLER, id="in two headers"),
        pytest.param("10.0.0.5", [f"198.51.100.1, {CALLER}"], CALLER, id="a forged beginning"),
        pytest.param(
            "10.0.0.5", [f"10.9.9.9, {CALLER}, 10.0.0.6"], CALLER, id="forged as one of ours"
        ),
        pytest.param("10.0.0.5", [], "10.0.0.5", id="names nobody"),
        pytest.param("10.0.0.5", ["unknown"], "10.0.0.5", id="no address"),
        pytest.param("10.0.0.5", [f"{CALLER}, nonsense"], "10.0.0.5", id="nonsense at the end"),
        pytest.param("10.0.0.5", ["10.0.0.7, 10.0.0.6"], "10.0.0.7", id="from inside"),
        pytest.param("10.0.0.5", [f"{CALLER}:4711"], CALLER, id="with a port"),
        pytest.param("10.0.0.5", ["[2001:db8::7]:4711"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param("fd00::5", ["2001:db8::7"], "2001:db8::7", id="IPv6"),
        pytest.param("::ffff:10.0.0.5", [CALLER], CALLER, id="IPv4 in IPv6"),
        pytest.param(None, [CALLER], None, id="no peer"),
        pytest.param("10.0.0.5", ["\xff" * 100_000], "10.0.0.5", id="anything at all"),
    ],
)
def test_the_first_that_is_not_trusted_from_the_end(
    peer: str | None, forwarded: list[str], caller: str | None
) -> None:
    headers = [(b"X-Forwarded-For", value.encode("latin-1")) for value in forwarded]
    found = Callers(TRUSTED).address(peer, headers)
    assert (None if found is None else str(found)) == caller


def test_nobody_is_trusted_by_default() -> None:
    found = Callers().address("127.0.0.1", [(b"x-forwarded-for", CALLER.encode())])
    assert str(found) == "127.0.0.1"
