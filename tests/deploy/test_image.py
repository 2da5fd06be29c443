"""The images that the Dockerfile's steps make, run as their user on a root that is read-only.

There is no engine here: tests/support/image.py runs the steps in a chroot. DLR_TEST_LONG=1.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.receive.serving import bearer
from tests.send.world import HELLO
from tests.support.guard import Guard
from tests.support.image import Image, build, debian
from tests.support.long import LONG
from tests.support.ports import free_port
from tests.support.process import ServerProcess, answers_200
from tests.support.processes import wait_until

log = logging.getLogger(__name__)

pytestmark = [
    pytest.mark.timeout(1_800),
    pytest.mark.skipif(
        not LONG or os.geteuid() != 0 or shutil.which("debootstrap") is None,
        reason="needs DLR_TEST_LONG=1, root, and debootstrap",
    ),
]
LARGEST = 250 * 1024 * 1024
"""Bytes that it has more than the image of Python."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    folder = tmp_path_factory.mktemp("images")
    return build(folder, debian(folder))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A volume, as Docker makes it of the image's own folder."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    os.chown(folder, 10_001, 10_001)
    return folder


def run(
    image: Image, data: Path, env: Mapping[str, str], *words: str
) -> subprocess.CompletedProcess[str]:
    command = image.command([*image.entrypoint, *(words or image.words)], data=data, env=env)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@contextmanager
def running(
    image: Image, data: Path, env: Mapping[str, str], url: str, *words: str
) -> Iterator[None]:
    command = image.command([*image.entrypoint, *(words or image.words)], data=data, env=env)
    log = data.parent / "output.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    guard = Guard(-process.pid)
    try:
        came = wait_until(lambda: process.poll() is not None or answers_200(url), timeout=60)
        assert came, log.read_text()
        assert process.poll() is None, log.read_text()
        yield
        process.terminate()
        assert process.wait(60) in (0, -15), log.read_text()
    finally:
        process.kill()
        guard.dismiss()


def is_healthy(image: Image, data: Path, port: int) -> bool:
    """By the image's own health check, at another port."""
    words = [
        word.replace(":8080/", f":{port}/").replace(":9090/", f":{port}/") for word in image.health
    ]
    return subprocess.run(image.command(words, data=data), check=False).returncode == 0


def test_a_send_and_its_receipts_go_through_the_three_roles(
    images: dict[str, Image], data: Path, empty_postgres_url: str
) -> None:
    iovox, port, ops = free_port(), free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    env = {
        "DLR_DATABASE_URL": empty_postgres_url,
        "DLR_PUBLIC_URL": url,
        "DLR_CALLBACK_URL_HEADERS": "Content-Type: application/json,X-Secret: a-long-secret-of-it",
        "DLR_IOVOX_URL": f"http://127.0.0.1:{iovox}",
        "DLR_IOVOX_USERNAME": "someone",
        "DLR_IOVOX_SECURE_KEY": "a-key",
    }
    service, worker = images["service"], images["worker"]
    migrated = run(images["migrate"], data, env)
    assert migrated.returncode == 0, migrated.stderr
    made = run(
        service, data, env, "keys", "create", "billing", "--scope", "send", "--scope", "read"
    )
    key = made.stdout.split()[-1]
    simulator = f"http://127.0.0.1:{iovox}/_simulator/counts"
    serve = ("serve", "--host", "127.0.0.1", "--port", str(port), "--no-workers")
    of_worker = env | {"DLR_OPS_PORT": str(ops)}
    with (
        ServerProcess.fork(["simulator", "--port", str(iovox)], ready_url=simulator),
        running(service, data, env, f"{url}/healthz", *serve),
        running(worker, data, of_worker, f"http://127.0.0.1:{ops}/healthz"),
    ):
        asked = bearer(key) | {"Prefer": "respond-async"}
        sent = httpx.post(f"{url}/v1/messages", json=HELLO, headers=asked)
        assert sent.status_code == 202, sent.text
        where = f"{url}/v1/messages/{sent.json()['id']}"

        def is_delivered() -> bool:
            return bool(httpx.get(where, headers=bearer(key)).json()["status"] == "DELIVERED")

        assert wait_until(is_delivered, timeout=30, every=0.1)
        assert is_healthy(service, data, port)
        assert is_healthy(worker, data, ops)
        assert not is_healthy(service, data, free_port())
    owners = {(path.stat().st_uid, oct(path.stat().st_mode)[-3:]) for path in data.rglob("*.db")}
    assert owners <= {(10_001, "600")}


def test_the_defaults_are_a_database_and_a_spool_in_the_volume(
    images: dict[str, Image], data: Path
) -> None:
    done = run(images["service"], data, {}, "migrate")
    assert done.returncode == 0, done.stderr
    assert (data / "dlr.db").stat().st_uid == 10_001


def test_it_says_in_words_what_is_not_set(images: dict[str, Image], data: Path) -> None:
    done = run(images["service"], data, {})
    assert done.returncode == 2
    assert "DLR_PUBLIC_URL: is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_root_cannot_be_written_and_it_is_nobody(images: dict[str, Image], data: Path) -> None:
    words = ["sh", "-c", "id -u; touch /srv/x || touch /opt/x || echo refused; echo >/data/spool.x"]
    command = images["service"].command(words, data=data)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["10001", "refused"]
    assert (data / "spool.x").exists()


def test_only_what_is_needed_is_in_it(images: dict[str, Image]) -> None:
    root = images["service"].root
    assert not list(root.glob("opt/venv/lib/python3*/site-packages/phonenumbers/geodata"))
    assert not (root / "srv/tests").exists()
    assert not list(root.glob("srv/requirements*"))
    added = sum(images["service"].size(part) for part in ("opt/venv", "srv"))
    log.info("%.0f MB", added / 1e6)
    assert added < LARGEST
