"""Several server processes on one port: one that dies is replaced, and all stop gracefully.

Not uvicorn's own supervisor: that keeps the port open until its workers have ended, so the kernel
completes connections that nobody accepts; it stops all workers if a replacement does not start;
and if it is killed itself, its workers live on.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from multiprocessing.context import SpawnProcess
from types import FrameType

import structlog
from uvicorn import Config

from app.server.hangups import blocked, unblock
from app.server.process import GracefulServer

LOOK_EVERY = 0.2
"""Seconds between checks for a stop signal."""
STABLE_AFTER = 10.0
"""Seconds of running processes after which the configuration is known to work."""
PAUSE = 1.0
"""Seconds before a process is replaced: one that dies at once must not restart in a tight loop."""
STOP_SLACK = 5.0
"""Seconds beyond what a process allows itself to stop in, after which it is killed."""

log = structlog.get_logger(__name__)


class Supervisor:
    """Starts the processes, replaces those that die, and stops them on SIGTERM or SIGINT."""

    def __init__(
        self,
        config: Config,
        *,
        workers: int,
        stop_patience: float,
        on_death: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        """``stop_patience``: seconds that a process may take to stop. ``on_death`` is called with
        the id of each process that has died.
        """
        self._on_death = on_death
        self._config = config
        self._workers = workers
        self._stop_patience = stop_patience
        self._socket = config.bind_socket()
        self._processes: list[SpawnProcess] = []
        self._is_stopping = False
        self._is_stable = False

    def run(self) -> int:
        """Run until SIGTERM or SIGINT; returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        unblock()
        started_at = time.monotonic()
        self._fill()
        while not self._is_stopping:
            connection.wait([each.sentinel for each in self._processes], timeout=LOOK_EVERY)
            self._is_stable |= time.monotonic() - started_at > STABLE_AFTER
            dead = [each for each in self._processes if not each.is_alive()]
            if dead and not self._is_stopping:
                log.error("worker_died", exit_codes=[each.exitcode for each in dead])
                for each in dead:
                    self._on_death(each.pid or 0)
                gave_up = any((each.exitcode or 0) > 0 for each in dead)  # not killed
                if gave_up and not self._is_stable:
                    break
                self._processes = [each for each in self._processes if each not in dead]
                time.sleep(PAUSE)
                self._fill()
        self._end()
        return 0 if self._is_stopping else 1

    def _fill(self) -> None:
        while len(self._processes) < self._workers and not self._is_stopping:
            process = get_context("spawn").Process(
                target=_serve, args=(self._config, self._socket), name="server"
            )
            with blocked():  # the process inherits it, and unblocks it once it has a handler
                process.start()
                self._processes.append(process)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping = True

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        for process in self._processes:
            if process.pid is not None and process.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def _end(self) -> None:
        # First: while the port is open, the kernel completes connections that nobody accepts.
        self._socket.close()
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + self._stop_patience + STOP_SLACK
        for process in self._processes:
            process.join(timeout=max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                log.error("worker_killed", why="it did not stop in time")
                process.kill()


def _serve(config: Config, listener: socket.socket) -> None:
    """The main function of each process."""
    threading.Thread(target=_end_with_parent, name="parent watch", daemon=True).start()
    GracefulServer(config).run([listener])


def _end_with_parent() -> None:
    """Stop when the parent dies: an orphan would keep the port, and the next start would fail."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
