"""Files that are ours alone: made so, and nothing else is taken for one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.parts.private_files import (
    UnsafeFileError,
    make_private,
    make_private_folder,
    open_private,
)


@pytest.fixture(autouse=True)
def everybody_may_read() -> object:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o777


@pytest.mark.parametrize("make", [make_private, lambda path: os.close(open_private(path))])
def test_a_file_is_its_owners_alone(tmp_path: Path, make: object) -> None:
    make_private_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    file = tmp_path / "a" / "b" / "file"
    for _ in range(2):
        make(file)  # type: ignore[operator]
        assert mode(file) == 0o600
        file.write_bytes(b"kept")
        file.chmod(0o644)  # as releases before left it
    make(file)  # type: ignore[operator]
    assert (mode(file), file.read_bytes()) == (0o600, b"kept")


def plant_link(path: Path) -> None:
    path.symlink_to(path.with_name("target"))


def plant_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("new"))


PLANTED = [plant_link, plant_dangling, os.mkfifo, Path.mkdir]


@pytest.mark.parametrize("make", [make_private, open_private])
@pytest.mark.parametrize("plant", PLANTED)
def test_what_was_planted_is_left_alone(tmp_path: Path, make: object, plant: object) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    target.chmod(0o644)
    plant(tmp_path / "file")  # type: ignore[operator]
    with pytest.raises(UnsafeFileError, match="remove it"):
        make(tmp_path / "file")  # type: ignore[operator]
    assert (mode(target), target.read_bytes()) == (0o644, b"precious")
    assert not (tmp_path / "new").exists()


def test_another_users_file_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose they are takes two users to try, and the tests have one."""
    file = tmp_path / "file"
    make_private(file)
    if os.geteuid() == 0:
        os.chown(file, 12_345, 12_345)
    else:
        pytest.skip("only root can give a file away")
    with pytest.raises(UnsafeFileError, match="another user's"):
        open_private(file)
