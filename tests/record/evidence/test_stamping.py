"""Time stamps of an authority that the tests run themselves (`openssl ts`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from app.record.evidence.document import encode_document
from app.record.evidence.log import checkpoint_of
from app.record.evidence.stamping import NotStamped, Stamper
from app.record.evidence.stamps import check_stamp
from app.record.evidence.verifying import verify
from tests.record.evidence import tsa
from tests.record.evidence.world import KEY, World
from tests.store.samples import message

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Its URL and its root."""
    folder = tmp_path_factory.mktemp("tsa")
    root = tsa.make(folder)
    with tsa.serving(folder) as url:
        yield url, root


def stamper(world: World, url: str) -> Stamper:
    return Stamper(url=url, reader=world.reader, now=lambda: world.clock)


async def stamped(world: World, url: str) -> bytes:
    await world.drain()
    of = message()
    await world.send(of)
    await world.accept(of, "a1")
    await world.log.checkpoint()
    await stamper(world, url).stamp_newest()
    return await world.documents.of_message(of.id)


async def test_a_stamp_is_in_the_evidence(world: World, authority: tuple[str, Path]) -> None:
    url, root = authority
    document = await stamped(world, url)
    report = verify(document, keys=[KEY.verifier], tsa=root.read_bytes())
    assert report.faults == []
    assert any("says CN=Test stamps" in words for words in report.holds)


async def test_a_stamp_of_another_checkpoint_is_named(
    world: World, authority: tuple[str, Path]
) -> None:
    document = json.loads(await stamped(world, authority[0]))
    stamp = document["logs"][0]["stamp"]
    await world.send(another := message(text="another"))
    await world.accept(another, "a2")
    document = json.loads(await world.documents.of_message(another.id))
    assert document["logs"][0]["stamp"] is None  # the authority has not seen this one
    document["logs"][0]["stamp"] = stamp
    document.pop("digest")
    [fault] = verify(encode_document(document), keys=[KEY.verifier]).faults
    assert "it is of something else" in fault


async def test_who_asks_later_still_gets_the_stamp(
    world: World, authority: tuple[str, Path]
) -> None:
    """A busy log has always a newer checkpoint, which the authority has not seen yet."""
    first = json.loads(await stamped(world, authority[0]))
    await world.send(message(text="another"))
    await world.log.checkpoint()
    id_ = UUID(first["facts"][0]["fact"]["message"])
    assert json.loads(await world.documents.of_message(id_)) == first


async def test_openssl_says_the_same(
    world: World, authority: tuple[str, Path], tmp_path: Path
) -> None:
    url, root = authority
    await stamped(world, url)
    log = (await world.reader.logs())[-1]
    checkpoint = await world.reader.newest_checkpoint(log.id)
    assert checkpoint is not None
    assert checkpoint.stamp is not None
    (tmp_path / "text").write_text(checkpoint_of(checkpoint).text)
    (tmp_path / "stamp").write_bytes(checkpoint.stamp)
    words = ["openssl", "ts", "-verify", "-data", "text", "-in", "stamp", "-CAfile", str(root)]
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=tmp_path, capture_output=True, timeout=60, check=False
    )
    assert b"Verification: OK" in done.stdout + done.stderr, done


async def test_a_stamp_of_something_else_is_found(
    world: World, authority: tuple[str, Path]
) -> None:
    url, root = authority
    document = json.loads(await stamped(world, url))
    await world.send(message(text="another"))
    log = document["logs"][0]
    stamp = bytearray(base64.b64decode(log["stamp"]))
    stamp[-5] ^= 1  # in the signature
    log["stamp"] = base64.b64encode(stamp).decode()
    document.pop("digest")
    faults = verify(encode_document(document), keys=[KEY.verifier], tsa=root.read_bytes()).faults
    assert any("time stamp" in fault for fault in faults), faults


async def test_any_stamp_gets_words_and_no_traceback(
    world: World, authority: tuple[str, Path]
) -> None:
    url, root = authority
    document = json.loads(await stamped(world, url))
    text = document["logs"][0]["checkpoint"].partition("\n\n")[0].encode() + b"\n"
    whole = base64.b64decode(document["logs"][0]["stamp"])
    check_stamp(whole, text, trusted=root.read_bytes())
    for place in range(0, len(whole), 3):
        altered = bytearray(whole)
        altered[place] ^= 1 << place % 8
        with contextlib.suppress(ValueError):
            check_stamp(bytes(altered), text, trusted=root.read_bytes())
            check_stamp(bytes(altered), text)


async def test_a_strangers_stamp_is_found(
    world: World, authority: tuple[str, Path], tmp_path: Path
) -> None:
    document = await stamped(world, authority[0])
    other = tsa.make(tmp_path).read_bytes()
    faults = verify(document, keys=[KEY.verifier], tsa=other).faults
    assert any("time stamp" in fault for fault in faults), faults


async def test_an_authority_that_is_away_delays_nothing(world: World) -> None:
    await world.drain()
    checkpoint = await world.log.checkpoint()
    away = stamper(world, "http://127.0.0.1:9")
    await away.stamp_newest()  # logged, and tried again in a minute
    with pytest.raises(NotStamped, match="cannot be reached"):
        await away.stamp(checkpoint)
    assert (await world.log.checkpoint()).stamp is None
