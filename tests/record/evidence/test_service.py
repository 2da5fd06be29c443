"""The whole way, with real processes: a text is sent, delivered, proved and verified elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.record.evidence.verifying import verify
from tests.cli.here import dlr
from tests.cli.running import Running, make_key, running
from tests.record.evidence import second_verifier
from tests.record.evidence.witness import Witness
from tests.support.fixtures import BOTH, shared_database_of
from tests.support.long import LONG, POSTGRESQL
from tests.support.process import fork_dlr


@pytest.fixture(scope="module", params=BOTH if LONG else [POSTGRESQL])
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """What depends on the database is tested on both in the other modules, without processes."""
    yield from shared_database_of(request, tmp_path_factory)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The file of a signing key, and the verifier key that was printed."""
    file = tmp_path_factory.mktemp("keys") / "log.key"
    made = dlr(["evidence", "keygen", "sms.example.com/log", str(file)], {})
    assert made.returncode == 0, made.stderr
    return file, made.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def service(
    shared_url: str, key: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("service")
    with running(shared_url, folder, env={"DLR_EVIDENCE_KEY_FILE": str(key[0])}) as started:
        yield started


@pytest.fixture
def api(service: Running) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {service.key}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=30) as client:
        yield client


def delivered(api: httpx.Client, destination: str = "447700900000") -> str:
    body = {"origin": "447923221231", "destination": destination, "message": "Hello there"}
    sent = api.post("/v1/messages", json=body)
    assert sent.status_code == 201, sent.text
    id_ = str(sent.json()["id"])
    deadline = time.monotonic() + 30
    while api.get(f"/v1/messages/{id_}").json()["status"] != "DELIVERED":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return id_


def test_a_delivered_text_is_proved_to_a_stranger(
    api: httpx.Client, key: tuple[Path, str], tmp_path: Path
) -> None:
    earlier = api.get("/v1/evidence/checkpoint").json()
    id_ = delivered(api)
    asked = api.get(f"/v1/messages/{id_}/evidence", params={"since": earlier["size"]})
    assert asked.status_code == 200, asked.text
    second_verifier.verify(asked.content, keys=[key[1]], checkpoint=earlier["note"])
    kinds = [entry["fact"]["type"] for entry in asked.json()["facts"]]
    assert kinds[:2] == ["recorded", "attached"]
    assert "receipt" in kinds

    document, public, note = (tmp_path / name for name in ("evidence.json", "log.pub", "note"))
    document.write_bytes(asked.content)
    public.write_text(f"# the log's key\n{key[1]}\n")
    note.write_text(earlier["note"])
    words = ["evidence", "verify", str(document), "--key", str(public), "--checkpoint", str(note)]
    done = fork_dlr(words, {})
    assert done.returncode == 0, done.stderr
    assert "VERIFIED" in done.stdout
    assert "iovox signs nothing" in done.stdout

    document.write_bytes(asked.content.replace(b"DELIVERED", b"FAILED...", 1))
    done = fork_dlr([*words, "--json"], {})
    assert done.returncode == 1
    assert json.loads(done.stdout)["verified"] is False


def test_the_log_is_there_for_anybody_with_a_key(api: httpx.Client, key: tuple[Path, str]) -> None:
    first = api.get("/v1/evidence/checkpoint").json()
    delivered(api)
    second = api.get("/v1/evidence/checkpoint").json()
    assert second["size"] > first["size"]
    sizes = {"from": first["size"], "to": second["size"]}
    proof = api.get("/v1/evidence/consistency", params=sizes).json()["proof"]
    roots = [bytes.fromhex(one["root"]) for one in (first, second)]
    hashes = [bytes.fromhex(each) for each in proof]
    assert second_verifier.from_old(first["size"], second["size"], hashes, roots[0]) == tuple(roots)
    page = api.get("/v1/evidence/checkpoints", params={"limit": 500}).json()
    assert [first, second] == [one for one in page["checkpoints"] if one["size"] in sizes.values()]
    [log] = api.get("/v1/evidence/keys").json()["logs"]
    assert log["keys"] == [key[1]]
    assert api.get("/v1/evidence/consistency", params={"from": 5, "to": 1}).status_code == 422
    assert api.get("/v1/messages/nothing/evidence").status_code == 404


def test_a_witness_is_added_by_hand(
    service: Running, api: httpx.Client, key: tuple[Path, str], tmp_path: Path
) -> None:
    id_ = delivered(api)
    api.get(f"/v1/messages/{id_}/evidence")  # what is in the log is under the checkpoint
    note = api.get("/v1/evidence/checkpoint").json()["note"]
    witness = Witness()
    file, public = tmp_path / "note", tmp_path / "witness.pub"
    file.write_text(note + witness.line(note))
    public.write_text(witness.verifier)
    words = ["evidence", "cosign", str(file), "--witness", str(public)]
    done = fork_dlr(words, service.settings)
    assert done.returncode == 0, done.stderr
    assert f"co-signed by {witness.name}" in done.stdout
    document = api.get(f"/v1/messages/{id_}/evidence").content
    assert witness.name in document.decode()
    second_verifier.verify(document, keys=[key[1]])
    file.write_text(note + Witness().line(note))
    done = fork_dlr(words, service.settings)
    assert done.returncode == 1
    assert "Nothing is added" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_apps_evidence_is_not_found(service: Running, api: httpx.Client) -> None:
    id_ = delivered(api)
    other = make_key(service.settings, "other", "read")
    headers = {"Authorization": f"Bearer {other}"}
    answer = httpx.get(f"{service.url}/v1/messages/{id_}/evidence", headers=headers)
    assert answer.status_code == 404


def test_the_audit_agrees(service: Running, api: httpx.Client) -> None:
    delivered(api)
    api.get("/v1/evidence/checkpoint")
    done = fork_dlr(["evidence", "audit", "--json"], service.settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["findings"] == []


def test_without_a_key_there_is_no_log(shared_url: str, tmp_path: Path) -> None:
    with running(shared_url, tmp_path) as started:
        headers = {"Authorization": f"Bearer {started.key}"}
        for path in ("checkpoint", "checkpoints", "keys", "consistency?from=1&to=1"):
            answer = httpx.get(f"{started.url}/v1/evidence/{path}", headers=headers)
            assert answer.status_code == 409, answer.text
            assert "DLR_EVIDENCE_KEY_FILE" in answer.json()["detail"]


@pytest.mark.parametrize("data", [b"", b"\x00\xff", b"{}", b"[1,2", b"null", b"\xef\xbb\xbf{}"])
def test_verify_has_words_for_any_bytes(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "evidence.json"
    file.write_bytes(data)
    done = dlr(["evidence", "verify", str(file)], {})
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stderr
    assert "VERIFIED" not in done.stdout
    assert not verify(data).is_verified


def test_verify_has_words_for_files_that_are_not_there(tmp_path: Path) -> None:
    done = dlr(["evidence", "verify", str(tmp_path / "nothing.json")], {})
    assert done.returncode == 1
    assert "cannot be read" in done.stderr


def test_a_key_that_others_may_read_stops_the_start(key: tuple[Path, str], tmp_path: Path) -> None:
    file = tmp_path / "open.key"
    file.write_bytes(key[0].read_bytes())
    file.chmod(0o644)
    env = {"DLR_DATABASE_URL": f"sqlite:///{tmp_path}/x.db", "DLR_EVIDENCE_KEY_FILE": str(file)}
    done = fork_dlr(["keys", "create", "x", "--scope", "read"], env)
    done = fork_dlr(["evidence", "audit"], env)
    assert done.returncode == 2
    assert "chmod 600" in done.stderr


def test_keygen_overwrites_nothing(key: tuple[Path, str]) -> None:
    before = key[0].read_bytes()
    assert dlr(["evidence", "keygen", "other", str(key[0])], {}).returncode == 1
    assert key[0].read_bytes() == before
    assert dlr(["evidence", "keygen", "a b", str(key[0].with_name("new"))], {}).returncode == 2
