"""Evidence and checkpoints, as the client has them."""

from __future__ import annotations

import httpx
import pytest

from iovox_receipts import Conflict
from tests.client.scripted import Play, problem


def test_a_document_is_its_bytes(play: Play) -> None:
    script = play([httpx.Response(200, content=b'{"digest":"x"}')])
    with script.client() as client:
        assert client.evidence.document("a/1", since=4) == b'{"digest":"x"}'
        with pytest.raises(ValueError, match="id"):
            client.evidence.document("")
    [asked] = script.requests
    assert asked.url.raw_path == b"/v1/messages/a%2F1/evidence?since=4"


def test_a_checkpoint(play: Play) -> None:
    raw = {"origin": "log", "size": 3, "root": "00", "note": "n", "signed_at": "x", "stamp": None}
    found = play([httpx.Response(200, json=raw)]).client().evidence.checkpoint()
    assert (found.origin, found.size, found.root, found.note) == ("log", 3, "00", "n")


def test_no_log_is_a_conflict(play: Play) -> None:
    with pytest.raises(Conflict):
        play([problem(409)]).client().evidence.checkpoint()
