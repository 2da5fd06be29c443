"""A pgbouncer on loopback in front of a test's PostgreSQL, run by the account that runs that."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.support import processes
from tests.support.guard import Guard
from tests.support.memory import short_folder
from tests.support.ports import free_port
from tests.support.postgresql import account

START_SECONDS = 20.0
STARTUP_PARAMETERS = (
    "jit,tcp_user_timeout,tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,"
    "idle_in_transaction_session_timeout"
)
"""What the service says when it connects: pgbouncer refuses these, or is told to ignore them."""


def find_pgbouncer() -> str:
    """Its path; skips the test where it is not installed."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        pytest.skip("needs pgbouncer: apt install pgbouncer")
    return found


class PgBouncer:
    """``with PgBouncer(url): ...``; ``url`` is where the PostgreSQL behind it is found."""

    def __init__(self, url: str, *, mode: str = "transaction", **settings: object) -> None:
        self.port = free_port()
        self._program = find_pgbouncer()
        self._account = account()
        self._folder = Path(tempfile.mkdtemp(prefix="dlr-pgbouncer-", dir=short_folder()))
        parts = urlsplit(url)
        words = {"host": parts.hostname, "port": parts.port, "user": parts.username}
        if parts.password:
            words["password"] = parts.password
        how: dict[str, object] = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": mode,
            "max_client_conn": 500,
            "default_pool_size": 20,
            **settings,
        }
        lines = ["[databases]", "* = " + " ".join(f"{k}={v}" for k, v in words.items())]
        lines += ["[pgbouncer]", *(f"{k} = {v}" for k, v in how.items())]
        (self._folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        if self._account:
            for path in (self._folder, self._folder / "pgbouncer.ini"):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        who: dict[str, Any] = {}
        if self._account:
            uid, gid = self._account.pw_uid, self._account.pw_gid
            who = {"user": uid, "group": gid, "extra_groups": []}
        with (self._folder / "pgbouncer.log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, "-q", str(self._folder / "pgbouncer.ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **who,
            )
        self._guard = Guard(self._process.pid, folder=str(self._folder))
        if not processes.wait_until(self._listens, timeout=START_SECONDS):
            log_text = (self._folder / "pgbouncer.log").read_text(errors="replace")
            self.close()
            raise RuntimeError(f"pgbouncer did not start:\n{log_text[-4000:]}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends it, with its connections; harmless when repeated."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
            self._process = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def through(self, url: str) -> str:
        """The same database by way of this pooler."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.port}"))

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False
