"""Releases of the service in trees of their own: the one under test, a newer one, the last one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import PROJECT, ServerProcess, fork_dlr

PARTS = ("app", "migrations")
VERSIONS = "migrations/versions"
TOLERANCE = "app/store/releases.py"
"""A release that has this file knows what to make of a newer schema."""

MIGRATION = '''"""{about}"""

import sqlalchemy as sa
from alembic import op

from app.store.online import add_column

revision = "{revision}"
down_revision = "{after}"
branch_labels = None
depends_on = None

{declared}


def upgrade() -> None:
    add_column("messages", sa.Column("{revision}", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "{revision}")
'''
COMPATIBLE = 'locks = "messages: for a moment"\nloses = None'
BREAKING = (
    'breaking = True\nbreaking_because = "messages are kept elsewhere"\n'
    'locks = "messages: for a moment"\nloses = "all that was kept elsewhere"'
)


@dataclass(frozen=True)
class Release:
    """A tree with `app` and `migrations`, run by the Python of the tests."""

    tree: Path

    def env(self, extra: Mapping[str, str]) -> dict[str, str]:
        """The environment in which Python takes the tree's code."""
        return {"PYTHONPATH": str(self.tree)} | dict(extra)

    def dlr(
        self, args: list[str], env: Mapping[str, str], *, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of this release that ends by itself."""
        return fork_dlr(args, self.env(env), timeout=timeout, tree=self.tree)

    def output(self, args: list[str], env: Mapping[str, str]) -> tuple[int, str]:
        """The exit code and all that a command of this release says."""
        done = self.dlr(args, env, timeout=90)
        return done.returncode, done.stderr + done.stdout

    def serve(self, port: int, env: Mapping[str, str], *, cwd: Path) -> ServerProcess:
        """Start this release's service; returns when it is alive."""
        url = f"http://127.0.0.1:{port}/healthz"
        words = ["serve", "--port", str(port)]
        return ServerProcess.fork(words, self.env(env), url, cwd=cwd, tree=self.tree)

    def head(self) -> str:
        """Its newest revision."""
        found = [path.read_text() for path in (self.tree / VERSIONS).glob("*.py")]
        names = {_value(text, "revision") for text in found}
        (head,) = names - {_value(text, "down_revision") for text in found}
        return head


TODAY = Release(PROJECT)


def newer(folder: Path, *migrations: tuple[str, str]) -> Release:
    """The code under test with more migrations: a revision and what it declares, each."""
    for part in PARTS:
        shutil.copytree(PROJECT / part, folder / part)
    release = Release(folder)
    for revision, declared in migrations:
        text = MIGRATION.format(
            about=f"About {revision}.", revision=revision, after=release.head(), declared=declared
        )
        (folder / VERSIONS / f"{revision}.py").write_text(text)
    return release


def last_release(folder: Path) -> tuple[Release | None, str]:
    """The code before the newest migration came, from the history; or None, and why there is none.

    That is the parent of the first commit that has the newest migration's file; a merge that brings
    it counts as one.
    """
    newest = next(
        path
        for path in (PROJECT / VERSIONS).glob("*.py")
        if _value(path.read_text(), "revision") == TODAY.head()
    )
    named = f"{VERSIONS}/{newest.name}"
    try:
        added = _git(
            "log", "-m", "--first-parent", "--diff-filter=A", "--format=%H", "--", named
        ).split()
        if not added:
            return None, f"{newest.name} is not in the history yet"
        before = _git("rev-parse", "--verify", f"{added[-1]}^").strip()
        names = _git("ls-tree", "-r", "--name-only", before, "--", TOLERANCE)
    except (OSError, subprocess.CalledProcessError):
        return None, "there is no history, or it does not reach back to the release before"
    if not names:
        return None, f"the release before ({before[:9]}) does not know newer schemas yet"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder.with_suffix(".tar")
    _git("archive", f"--output={archive}", before, *PARTS)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return Release(folder), before


def _git(*words: str) -> str:
    # The files may belong to somebody else than who runs the tests.
    command = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT), *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _value(text: str, name: str) -> str:
    line = next(line for line in text.splitlines() if line.startswith(f"{name} = "))
    return line.partition(" = ")[2].strip("\"'")
