"""Our own server as users run it: a process of its own that can be killed at any instant."""

import atexit
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psutil

from tests.support import processes
from tests.support.guard import Guard
from tests.support.nursery import OF_TODAY, Forked
from tests.support.ports import free_port

__all__ = ["PROJECT", "ServerProcess", "free_port", "run_dlr"]

PROJECT = Path(__file__).resolve().parents[2]
STOP_SECONDS = 30.0


class ServerProcess:
    """A ``dlr`` command that goes on until it is told to stop, in a process group of its own.

    Unless told otherwise it runs in a temporary folder, so that its SQLite file and its spool never
    land in the source tree. Settings of the caller's own environment (``DLR_*``) do not reach it.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        module: str = "app.cli",
        nursery: Path | None = None,
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="dlr-server-"))
        self.cwd = cwd or self._folder
        self._log = self._folder / "output.log"
        self._cpu = 0.0
        self._memory = 0
        self._owner = os.getpid()
        self._process: subprocess.Popen[bytes] | Forked
        if nursery is not None:
            self._process = Forked(
                nursery, [*args], env=clean_environment(env), cwd=self.cwd, log=self._log
            )
        else:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", module, *args],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.cwd,
                    env=clean_environment(env),
                    start_new_session=True,
                )
        self._guard: Guard | None = Guard(-self._process.pid, folder=str(self._folder))
        atexit.register(self._close_at_exit)

    @classmethod
    def start(
        cls,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        ready_url: str | None = None,
        timeout: float = 30.0,
        *,
        cwd: Path | None = None,
        module: str = "app.cli",
    ) -> Self:
        """Returns when ``ready_url`` answers 200; raises RuntimeError with the output otherwise.

        It blocks: a server that needs the caller's event loop to become ready is started by
        ``asyncio.to_thread``.
        """
        return cls(args, env=env or {}, cwd=cwd, module=module)._when_ready(ready_url, timeout)

    @classmethod
    def fork(
        cls,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        ready_url: str | None = None,
        timeout: float = 30.0,
        *,
        cwd: Path | None = None,
        tree: Path = PROJECT,
    ) -> Self:
        """Like ``start``, in a fraction of the time; processes of its own take as long as ever.

        ``tree`` has the code.
        """
        server = cls(args, env=env or {}, cwd=cwd, nursery=nursery(tree))
        return server._when_ready(ready_url, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process, and the process group, that was started."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def _when_ready(self, url: str | None, timeout: float) -> Self:
        try:
            self.wait_ready(url, timeout)
        except BaseException:
            self.close()
            raise
        return self

    def wait_ready(self, url: str | None, timeout: float = 30.0) -> None:
        """Waits for a 200. Without a URL there is nothing to wait for."""
        if url is None:
            return
        came = processes.wait_until(
            lambda: not self.running or answers_200(url), timeout=timeout, every=0.02
        )
        if not self.running:
            code = self._process.returncode
            raise RuntimeError(f"the server ended with {code}:\n{self.output()}")
        if not came:
            raise RuntimeError(f"no 200 from {url} in {timeout} s:\n{self.output()}")

    def output(self) -> str:
        """What it has written so far, standard output and error together."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def kill(self) -> None:
        """SIGKILL to the whole group, as when the machine's memory runs out."""
        self._measure()
        everyone = self._family()
        # Where our process has been waited for and its number lives again, the group is not ours.
        if self.running or not psutil.pid_exists(self.pid):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        processes.send_signal(everyone, signal.SIGKILL)
        self._process.wait(timeout=STOP_SECONDS)
        processes.wait_until(lambda: all(map(processes.ended, everyone)), timeout=STOP_SECONDS)

    def terminate(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM to the process alone, as a container's stop does; gives its exit code.

        Raises RuntimeError with the output when it is still there after ``timeout``.
        """
        self._measure()
        self._process.terminate()
        try:
            return self._process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"still there {timeout} s after SIGTERM:\n{self.output()}") from None

    def wait(self, timeout: float = STOP_SECONDS) -> int:
        """Waits for a command that ends by itself; gives its exit code."""
        return self._process.wait(timeout=timeout)

    def pause(self) -> None:
        """SIGSTOP to the whole group: connections stay open without any response."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes ``pause``."""
        os.killpg(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """User and system time of it and its workers; after its end, as of just before."""
        self._measure()
        return self._cpu

    def peak_memory_bytes(self) -> int:
        """The most that it and its workers held; after its end, as of just before."""
        self._measure()
        return self._memory

    def close(self) -> None:
        """Kills what still runs and deletes the temporary folder; harmless when repeated."""
        atexit.unregister(self._close_at_exit)
        if self._guard is None:
            return
        self.kill()
        self._guard.dismiss()
        self._guard = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def _family(self) -> list[psutil.Process]:
        return processes.family(self.pid) if self.running else []

    def _measure(self) -> None:
        family = self._family()
        self._cpu = max(self._cpu, processes.cpu_seconds(family))
        self._memory = max(self._memory, processes.peak_memory_bytes(family))

    def _close_at_exit(self) -> None:
        if os.getpid() == self._owner:  # not in a fork of ours
            with suppress(Exception):
                self.close()


@cache
def nursery(tree: Path = PROJECT) -> Path:
    """The address of the nursery for the code of a tree, which is started when first asked for."""
    env = {OF_TODAY: "1"} if tree == PROJECT else {"PYTHONPATH": f"{tree}{os.pathsep}{PROJECT}"}
    process = ServerProcess(["socket"], env=env, cwd=None, module="tests.support.nursery")
    address = process.cwd / "socket"
    came = processes.wait_until(lambda: not process.running or address.exists(), timeout=60)
    if not came or not process.running:
        process.close()
        raise RuntimeError(f"the nursery did not start:\n{process.output()}")
    return address


def run_dlr(
    args: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    cwd: Path | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Runs a ``dlr`` command that ends by itself; its exit code is for the caller to judge."""
    with tempfile.TemporaryDirectory(prefix="dlr-run-") as folder:
        return subprocess.run(
            [sys.executable, "-m", "app.cli", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd or folder,
            env=clean_environment(env or {}),
        )


def fork_dlr(
    args: Sequence[str],
    env: Mapping[str, str] | None = None,
    *,
    timeout: float = 60.0,
    tree: Path = PROJECT,
) -> subprocess.CompletedProcess[str]:
    """Like ``run_dlr``, out of the nursery."""
    with tempfile.TemporaryDirectory(prefix="dlr-run-") as folder:
        out, errors = Path(folder) / "out", Path(folder) / "errors"
        given = clean_environment(env or {})
        process = Forked(
            nursery(tree), [*args], env=given, cwd=Path(folder), log=out, errors=errors
        )
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(
            [*args], code, out.read_text(errors="replace"), errors.read_text(errors="replace")
        )


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our own environment without what would configure the service, and ``extra`` on top."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("DLR_")}
    path = os.pathsep.join(filter(None, [str(PROJECT), kept.get("PYTHONPATH")]))
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        # Compiling all of it takes seconds, at every start: keep it, though not in the source tree.
        cache = Path(tempfile.gettempdir()) / f"dlr-bytecode-{os.getuid()}"
        kept.setdefault("PYTHONPYCACHEPREFIX", str(cache))
    return kept | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"} | dict(extra)


def answers_200(url: str) -> bool:
    """One GET, by no proxy, bounded at two seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
