"""A disk that fills up: a small file system of its own, where we may mount one."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIES = 10


class CannotMount(Exception):
    """Mounting is not permitted, or there is no tmpfs; the text has the reason."""


@contextmanager
def small_disk(folder: Path, *, size: int) -> Iterator[Path]:
    """Mounts a tmpfs of ``size`` bytes at the folder; raises CannotMount with the reason."""
    if os.geteuid() != 0:
        raise CannotMount("only root may mount a small disk")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0755"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder))
    try:
        yield folder
    finally:
        # Lazily: a process of the test's that is just being killed may still have a file open.
        _run("umount", "-l", str(folder))


def fill(folder: Path, *, but: int = 0) -> Path:
    """Writes a file that takes all the room there is, or all but some bytes."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        for _ in range(TRIES):
            room = os.statvfs(folder)
            left = max(0, room.f_bavail * room.f_frsize - but)
            with suppress(OSError):  # somebody else took of it meanwhile
                os.posix_fallocate(file.fileno(), 0, max(1, left))
                break
    return ballast


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except FileNotFoundError as error:
        raise CannotMount(f"there is no `{command[0]}` here") from error
    if done.returncode:
        raise CannotMount(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
