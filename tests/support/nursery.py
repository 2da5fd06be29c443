"""Starts ``dlr`` in a fraction of a second: forked off a process that has imported it all.

A start costs one to three seconds of imports, and the tests want a hundred of them. What runs is
the command itself, from its first line on, in a process and a session of its own.

Run as ``python -m tests.support.nursery SOCKET``. Each connection sends one JSON line, {"args",
"env", "cwd", "log", "errors", "largest_file"}, and is told the process id, and its exit code when
it has one.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

PRELOADED = (
    "app.cli.serve",
    "app.cli.serving",
    "app.cli.simulator",
    "app.main",
    "app.server.complete_posts",
    "uvloop",
)
PATIENCE = 60.0
OF_TODAY = "NURSERY_OF_TODAY"
"""In the environment where the code is that of the tests, which prepare more of it."""


class Forked:
    """A process that the nursery has forked; to be used like a ``subprocess.Popen``."""

    def __init__(
        self,
        nursery: Path,
        args: list[str],
        *,
        env: dict[str, str],
        cwd: Path,
        log: Path,
        errors: Path | None = None,
        largest_file: int | None = None,
    ) -> None:
        """``errors``: its standard error, else the log; ``largest_file``: bytes, RLIMIT_FSIZE."""
        self.returncode: int | None = None
        self._line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._line.settimeout(PATIENCE)
            self._line.connect(str(nursery))
            wish = {
                "args": args,
                "env": env,
                "cwd": str(cwd),
                "log": str(log),
                "errors": str(errors or log),
                "largest_file": largest_file,
            }
            self._line.sendall(json.dumps(wish).encode() + b"\n")
            self._heard = b""
            self.pid = self._number()
        except BaseException:
            self._line.close()
            raise

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; negative is the signal that ended it."""
        if self.returncode is None:
            self._line.settimeout(timeout)
            try:
                self.returncode = self._number()
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("dlr", timeout or 0) from None
            self._line.close()
        return self.returncode

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """One that has ended is left alone."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _number(self) -> int:
        while b"\n" not in self._heard:
            more = self._line.recv(64)
            if not more:
                raise RuntimeError("the nursery has ended")
            self._heard += more
        number, _, self._heard = self._heard.partition(b"\n")
        return int(number)


def _main(address: str) -> None:
    for name in PRELOADED:
        with suppress(ModuleNotFoundError):  # an older release has it elsewhere
            import_module(name)
    if os.environ.get(OF_TODAY):
        import_module("tests.support.document").compute_document()
    gc.freeze()  # so that a child's collections do not copy all of it
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"{address}.new")
        listener.listen()
        Path(f"{address}.new").rename(address)
        wish = _tend(listener)
    _become(wish)


def _tend(listener: socket.socket) -> dict[str, Any]:
    """Fork, and tell of ends, for ever. Returns in the children only: what each is to be."""
    wait_for_event, waker = socket.socketpair()
    for end in (wait_for_event, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    callers: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, wait_for_event], [], [])
        if wait_for_event in ready:
            wait_for_event.recv(4096)
            _tell_of_ends(callers)
        if listener in ready:
            caller, _ = listener.accept()
            with caller.makefile("rb") as words:
                wish: dict[str, Any] = json.loads(words.readline())
            child = os.fork()
            if not child:
                break
            callers[child] = caller
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    caller.sendall(f"{os.getpid()}\n".encode())
    for inherited in (wait_for_event, waker, caller, *callers.values()):
        inherited.close()
    return wish


def _tell_of_ends(callers: dict[int, socket.socket]) -> None:
    while callers:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        with callers.pop(child) as caller, suppress(OSError):
            caller.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _become(wish: dict[str, Any]) -> None:
    for number, name in ((1, "log"), (2, "errors")):
        file = os.open(wish[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, number)
        os.close(file)
    os.chdir(wish["cwd"])
    if wish["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (wish["largest_file"],) * 2)
    os.environ.clear()
    os.environ.update(wish["env"])
    sys.argv = ["dlr", *wish["args"]]
    import_module("app.cli").main()


if __name__ == "__main__":
    _main(sys.argv[1])
