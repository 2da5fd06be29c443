"""The commands of docs/operations.md for an upgrade and the way back, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.here import dlr
from tests.support.long import POSTGRESQL, on
from tests.support.process import PROJECT, clean_environment
from tests.upgrade.releases import COMPATIBLE, TODAY, newer

pytestmark = pytest.mark.slow


def commands_under(heading: str) -> str:
    """The first block of commands under a heading."""
    text = (PROJECT / "docs" / "operations.md").read_text().partition(f"\n{heading}\n")[2]
    found = re.search(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


@on(POSTGRESQL)
def test_upgrade_and_back(database_url: str, tmp_path: Path) -> None:
    new = newer(tmp_path / "new", ("9001_compatible", COMPATIBLE))
    program = tmp_path / "bin" / "dlr"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m app.cli "$@"\n')
    program.chmod(0o755)
    settings = {"DLR_DATABASE_URL": database_url}
    env = clean_environment(
        new.env(
            settings | {"PATH": f"{program.parent}:{os.environ['PATH']}", "REVISION": TODAY.head()}
        )
    )

    def run(heading: str) -> str:
        done = subprocess.run(
            ["sh", "-eu", "-c", commands_under(heading)],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "`dlr migrate` would run:\n9001_compatible" in run("## Upgrading")
    assert "9001_compatible" in dlr(["migrate"], settings).stdout
    assert run("### Going back") == f"The schema is at {TODAY.head()}.\n"
    assert dlr(["migrate", "--check"], settings).stdout == "The schema is up to date.\n"
