"""A wrong or changing clock for one process, by libfaketime; its monotonic clock stays true."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest


class FakeClock:
    """The clock of the processes that are started with ``env``; ``folder`` is the test's own."""

    def __init__(self, folder: Path, ahead: timedelta = timedelta(0)) -> None:
        self._file = folder / "faketime"
        self.set(ahead)
        self.env = {
            "LD_PRELOAD": _library(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",  # otherwise a change is seen seconds later
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",  # with it Python's lock waits for seconds
            "NO_FAKE_STAT": "1",
        }

    def set(self, ahead: timedelta) -> None:
        """From now on the processes' clock is so far ahead of the true one."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{ahead.total_seconds():+.3f}\n")
        new.replace(self._file)


@cache
def _library() -> str:
    """Skips the test where there is none: Debian's package ``faketime`` has it."""
    found = sorted(Path("/usr/lib").glob("**/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("libfaketime is not installed")
    return str(found[0])
