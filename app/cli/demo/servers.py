"""Our own commands as child processes, with a temporary folder to live in. All of it is temporary:
whatever happens, no process and no file is left.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess  # nosec B404
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

import app
from app.errors import ServiceError

START_PATIENCE = 60.0
STOP_PATIENCE = 8.0
"""Seconds. The service is told to take no longer than 3 (DLR_SHUTDOWN_TIMEOUT)."""

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class PortTaken(ServiceError):
    """Another process took the port first: the caller tries others."""


class Child:
    """One ``dlr`` command in a session of its own: Ctrl-C at a terminal is for the demo alone."""

    def __init__(self, words: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> None:
        self.name = words[0]
        self.log = folder / f"{self.name}.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  # nosec B603
                [sys.executable, "-m", "app.cli", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env=env,
                start_new_session=True,
            )

    @property
    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    @property
    def found_port_taken(self) -> bool:
        """Whether it ended because another process took its port first."""
        return self.has_ended and "in use" in self.output().lower()

    def result(self) -> str:
        """What it wrote, once it has ended well. Raises ServiceError."""
        try:
            code = self._process.wait(START_PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise ServiceError(f"`dlr {self.name}` failed:\n{self.output()}")
        return self.output()

    def output(self) -> str:
        """The end of what it wrote."""
        return self.log.read_text(errors="replace")[-2000:].strip()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to all of its session should that not do."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class Servers:
    """Children and their folder. Leaving the context ends and deletes them all."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dlr-demo-"))
        self.http = httpx.Client(timeout=5.0, trust_env=False)
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with undisturbed():  # a second Ctrl-C must not interrupt it; every wait is bounded
            self.stop()
            self.http.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def database_url(self) -> str:
        """Of the database in the temporary folder."""
        return f"sqlite:///{self.folder / 'dlr.db'}"

    @property
    def all_run(self) -> bool:
        """Whether none of the servers has ended by itself."""
        return not any(child.has_ended for child in self._children if child.name != "keys")

    def logs(self) -> str:
        """The end of what each of them wrote: for when something went wrong."""
        return "\n".join(f"--- dlr {child.name}\n{child.output()}" for child in self._children)

    def spawn(self, *words: str, env: Mapping[str, str]) -> Child:
        """Start a command."""
        with undisturbed():  # a signal between these two would leave a child that nobody stops
            child = Child(words, folder=self.folder, env=_environment(env))
            self._children.append(child)
        return child

    def wait_ready(self, child: Child, url: str) -> None:
        """Return when ``url`` answers 200. Raises PortTaken or ServiceError with what it wrote."""
        deadline = time.monotonic() + START_PATIENCE
        while not self._answers(url):
            if child.found_port_taken:
                raise PortTaken(child.output())
            if child.has_ended or time.monotonic() > deadline:
                raise ServiceError(f"`dlr {child.name}` did not start:\n{child.output()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End all of them, the last one first."""
        while self._children:
            self._children[-1].stop()
            self._children.pop()

    def _answers(self, url: str) -> bool:
        try:
            return self.http.get(url).is_success
        except httpx.TransportError:
            return False


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that would end us wait until the end of this block.

    Handlers, and no mask: a mask would be inherited by a child that is started here.
    """
    arrived: list[int] = []

    def note(number: int, _frame: object) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0])


def free_ports(count: int) -> list[int]:
    """Ports that are free now; another process may still take one first (PortTaken)."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Our environment without the service's settings and HTTP proxies, and with ``extra``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DLR_") and name.lower() not in _PROXIES
    }
    root = str(Path(app.__file__).parents[1])
    paths = os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1"} | dict(extra)
