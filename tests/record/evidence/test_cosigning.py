"""Co-signatures of witnesses: added by hand, shown by documents, checked by the verifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.errors import Conflict, NotFound
from app.record.evidence.cosigning import Cosigned, add_cosignatures
from app.record.evidence.document import encode_document
from app.record.evidence.note import VerifierKey
from app.record.evidence.verifying import verify
from app.store.evidence.rows import CheckpointRow
from tests.cli.here import dlr
from tests.record.evidence import second_verifier
from tests.record.evidence.witness import Witness
from tests.record.evidence.world import KEY, World
from tests.store.samples import message, receipt

pytestmark = pytest.mark.asyncio(loop_scope="module")

ONE, OTHER = Witness(), Witness("witness.example/w2")


def keys(*witnesses: Witness) -> list[VerifierKey]:
    return [VerifierKey.parse(each.verifier) for each in witnesses]


async def add(world: World, note: str, *witnesses: Witness) -> Cosigned:
    return await add_cosignatures(world.reader, note, keys(*witnesses), now=world.clock)


async def a_checkpoint(world: World) -> tuple[UUID, CheckpointRow]:
    of = message()
    await world.drain()
    await world.send(of)
    await world.accept(of, "a1")
    await world.receive(receipt("a1", "DELIVERED", 5))
    return of.id, await world.log.checkpoint()


async def test_a_cosignature_is_kept_shown_and_checked(world: World) -> None:
    id_, signed = await a_checkpoint(world)
    note = signed.note + ONE.line(signed.note) + OTHER.line(signed.note)
    added = await add(world, note, ONE)  # the other one's key is not at hand
    assert [each.key.name for each in added.signatures] == [ONE.name]
    await add(world, note, ONE)  # once more changes nothing
    await add(world, signed.note + OTHER.line(signed.note), OTHER)

    # What came since is in the log, and the witnesses' checkpoint has the message.
    await world.receive(receipt("b1", "DELIVERED", 5))
    document = await world.documents.of_message(id_)
    assert json.loads(document)["logs"][0]["checkpoint"] == note
    second_verifier.verify(document, keys=[str(KEY.verifier)])
    report = verify(document, keys=[KEY.verifier], witnesses=keys(ONE, OTHER))
    assert report.faults == []
    assert [words for words in report.holds if "co-signed" in words] == [
        f"The checkpoint of {KEY.name} is co-signed by the witness {each.name}, "
        "at 2027-01-15 08:00:00 UTC"
        for each in (ONE, OTHER)
    ]
    assert (await world.audit()).findings == []
    assert (await world.reader.checkpoints(limit=10))[0].cosigned_at == world.clock


async def test_a_newer_fact_needs_a_newer_checkpoint(world: World) -> None:
    id_, signed = await a_checkpoint(world)
    await add(world, signed.note + ONE.line(signed.note), ONE)
    await world.receive(receipt("a1", "FAILED", 9))
    document = await world.documents.of_message(id_)
    assert json.loads(document)["facts"][-1]["fact"]["status"] == "FAILED"
    assert verify(document, keys=[KEY.verifier]).is_verified
    [fault] = verify(document, keys=[KEY.verifier], witnesses=keys(ONE)).faults
    assert "None of the witnesses" in fault


async def test_who_asks_since_a_later_checkpoint_gets_one_that_goes_on_from_it(
    world: World,
) -> None:
    id_, signed = await a_checkpoint(world)
    await add(world, signed.note + ONE.line(signed.note), ONE)
    await world.receive(receipt("b1", "DELIVERED", 5))
    later = await world.log.checkpoint()
    document = await world.documents.of_message(id_, since=later.size)
    assert verify(document, keys=[KEY.verifier], checkpoint=later.note).is_verified


async def test_what_a_witness_did_not_sign_is_refused_with_why(world: World) -> None:
    _, signed = await a_checkpoint(world)
    line = ONE.line(signed.note)
    elsewhere = signed.note.replace("\n4\n", "\n5\n")
    for note, witness, error, why in (
        (signed.note, ONE, Conflict, "none of its signatures"),
        (signed.note + line, OTHER, Conflict, "none of its signatures"),
        (signed.note + line[:-10] + line[-11] + line[-9:], ONE, Conflict, "added"),
        (f"{signed.note}{line}x", ONE, Conflict, "no signed note"),
        (elsewhere + line, ONE, Conflict, "is not of this text"),
        (elsewhere + ONE.line(elsewhere), ONE, NotFound, "at 5"),
        ("", ONE, Conflict, "no signed note"),
    ):
        with pytest.raises(error, match=why):
            await add(world, note, witness)
    root = signed.note.split("\n")[2]
    other = signed.note.replace(root, ("A" if root[0] != "A" else "B") + root[1:])
    with pytest.raises(Conflict, match="another log"):
        await add(world, other + ONE.line(other), ONE)
    assert (await world.reader.checkpoints(limit=10))[0].note == signed.note


async def test_a_forged_cosignature_and_a_wrong_key_are_found(world: World) -> None:
    id_, signed = await a_checkpoint(world)
    await add(world, signed.note + ONE.line(signed.note), ONE)
    document = json.loads(await world.documents.of_message(id_))
    stranger = Witness(ONE.name)
    assert verify(close_again(document), keys=[KEY.verifier], witnesses=keys(stranger)).faults
    log = document["logs"][0]
    log["checkpoint"] = signed.note + ONE.line(signed.note.replace("\n4\n", "\n3\n"))
    faults = verify(close_again(document), keys=[KEY.verifier], witnesses=keys(ONE)).faults
    assert any(f"the signature of {ONE.name} is not of this text" in fault for fault in faults)


async def test_a_witness_is_not_the_log(world: World) -> None:
    """Not even one of the log's own name."""
    id_, signed = await a_checkpoint(world)
    document = json.loads(await world.documents.of_message(id_))
    false = Witness(KEY.name)
    text = signed.note.partition("\n\n")[0] + "\n\n"
    document["logs"][0]["checkpoint"] = text + false.line(text)
    ways: tuple[dict[str, Any], ...] = (
        {},
        {"keys": keys(false)},
        {"keys": [KEY.verifier], "witnesses": keys(false)},
    )
    for given in ways:
        assert verify(close_again(document), **given).faults


async def test_any_time_of_a_witness_gets_words(world: World) -> None:
    id_, signed = await a_checkpoint(world)
    note = signed.note + ONE.line(signed.note, at=2**64 - 1) + OTHER.line(signed.note, at=0)
    await add(world, note, ONE, OTHER)
    report = verify(
        await world.documents.of_message(id_), keys=[KEY.verifier], witnesses=keys(ONE, OTHER)
    )
    assert report.is_verified
    assert any(f"at {2**64 - 1} seconds after 1970" in words for words in report.holds)


async def test_the_commands(world: World, tmp_path: Path) -> None:
    id_, signed = await a_checkpoint(world)
    note, witness, log = (tmp_path / name for name in ("note", "witness.pub", "log.pub"))
    note.write_text(signed.note + ONE.line(signed.note))
    witness.write_text(f"{ONE.verifier}\n")
    log.write_text(f"{KEY.verifier}\n")
    refused = dlr(["evidence", "cosign", str(note), "--witness", str(log)], {})
    assert refused.returncode == 1
    assert "of type 4" in refused.stderr
    await add(world, note.read_text(), ONE)
    document = tmp_path / "evidence.json"
    document.write_bytes(await world.documents.of_message(id_))
    words = ["evidence", "verify", str(document), "--key", str(log), "--witness"]
    done = dlr([*words, str(witness)], {})
    assert done.returncode == 0, done.stderr
    assert f"co-signed by the witness {ONE.name}" in done.stdout
    witness.write_text(f"{Witness(ONE.name).verifier}\n")
    done = dlr([*words, str(witness)], {})
    assert done.returncode == 1
    assert "None of the witnesses" in done.stderr
    assert dlr([*words, str(log)], {}).returncode == 1


def close_again(document: dict[str, object]) -> bytes:
    document.pop("digest", None)
    return encode_document(document)
