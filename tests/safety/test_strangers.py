"""What is planted in the spool's folder, who may read what lies there, and what strangers see."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from app.errors import ConfigurationError, SpoolUnavailable
from app.receive.drainer import _exclusive
from app.receive.spool import Spool
from app.store.watch import DatabaseWatch
from tests.receive.arrivals import arrivals
from tests.receive.serving import CALLBACK_HEADERS, body, serve

NAMES = ["receipts.db", "spool.lock", "drain.lock", "receipts.db-wal", "receipts.db-shm"]


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_link_keeps_its_target(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "spool"
    folder.mkdir()
    (folder / name).symlink_to(target)
    spool = Spool(folder)
    try:
        if name == "drain.lock":
            with pytest.raises(OSError, match="is a link"), _exclusive(folder / name):
                pass
        else:
            with pytest.raises(ConfigurationError, match="DLR_SPOOL_DIR"):
                spool.open()
    finally:
        spool.close()
    assert target.read_text() == "precious"


def test_what_lies_there_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = Spool(tmp_path / "spool")
        spool.open()
        spool.append(arrivals(range(3)))
        with _exclusive(tmp_path / "spool" / "drain.lock"):
            pass
        modes = {path.name: path.stat().st_mode & 0o777 for path in spool.path.parent.iterdir()}
        spool.close()
    finally:
        os.umask(before)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert set(modes) == set(NAMES)
    assert set(modes.values()) == {0o600}, modes


def test_the_command_makes_what_it_makes_for_its_owner_alone(tmp_path: Path) -> None:
    service = serve(f"sqlite:///{tmp_path / 'dlr.db'}", DLR_SPOOL_DIR=str(tmp_path / "spool"))
    with service.process:
        answer = httpx.post(
            f"{service.url}/dlr",
            content=body("an-id", "DELIVERED"),
            headers=CALLBACK_HEADERS,
            trust_env=False,
        )
        assert answer.status_code == 200
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert tmp_path / "dlr.db" in files
        for path in files:
            assert path.stat().st_mode & 0o077 == 0, path


def test_readyz_tells_strangers_no_paths(tmp_path: Path) -> None:
    service = serve(f"sqlite:///{tmp_path / 'dlr.db'}", DLR_SPOOL_DIR=str(tmp_path / "spool"))
    with service.process:
        for path in (tmp_path / "spool").glob("receipts.db*"):
            path.unlink()
        (tmp_path / "spool" / "receipts.db").mkdir()
        answer = httpx.get(f"{service.url}/readyz", trust_env=False)
        assert answer.status_code == 503
        assert "spool: it cannot be read" in answer.text
        assert str(tmp_path) not in answer.text


def test_a_problem_does_not_name_what_failed() -> None:
    error = SpoolUnavailable("unable to open /data/spool/receipts.db")
    assert "/data" in error.detail
    assert "/data" not in str(error.problem())


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ('password authentication failed for user "dlr"', "password authentication failed for u"),
        ("[Errno 111] Connect call failed ('10.1.2.3', 5432)", "Connect call failed"),
        ("unable to open /var/lib/dlr/dlr.db", "unable to open"),
        ('database "receipts" does not exist', "does not exist"),
        ('no pg_hba.conf entry for host "10.1.2.3", user "dlr"', "no pg_hba.conf entry"),
    ],
)
async def test_strangers_are_told_no_names(reason: str, shown: str) -> None:
    async def check() -> None:
        pass

    watch = DatabaseWatch(check, name="PostgreSQL at 10.1.2.3:5432, database receipts")
    watch.report_down(f"PostgreSQL at 10.1.2.3:5432, database receipts: {reason}")
    public = watch.public_reason
    assert public is not None
    assert shown in public
    for name in ("dlr", "10.1.2.3", "/var", "receipts"):
        assert name not in public
