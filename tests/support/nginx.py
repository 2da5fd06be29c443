"""nginx with deploy/nginx.conf as an ordinary user: on loopback, in a folder of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

from tests.support import processes
from tests.support.guard import Guard
from tests.support.ports import free_port
from tests.support.process import PROJECT

CONFIGURATION = PROJECT / "deploy" / "nginx.conf"
REPLICA = re.compile(r"server 10\.0\.0\.\d+:8080( .*;)")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx:
    """Starts at once; ``close`` ends it.

    ``tls``: a certificate and its key, instead of plain HTTP.
    """

    def __init__(
        self, replicas: Sequence[int], *, tls: tuple[Path, Path] | None = None, workers: int = 1
    ) -> None:
        """Skips the test where nginx is not installed."""
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="dlr-nginx-"))
        (self._folder / "logs").mkdir()
        self._write(render(replicas, port=self.port, folder=self._folder, tls=tls, workers=workers))
        self._process = subprocess.Popen(
            self._command("-g", f"daemon off; pid {self._folder}/nginx.pid; {_user()}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._guard = Guard(-self._process.pid, folder=str(self._folder))
        came = processes.wait_until(
            lambda: self._process.poll() is not None or bool(self._listens()), timeout=15
        )
        if not came or self._process.poll() is not None:
            self.close()
            raise RuntimeError(f"nginx did not start: {self.errors()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def access_log(self) -> str:
        """One line of JSON for each request."""
        return (self._folder / "logs" / "access.log").read_text()

    def everything_written(self) -> str:
        """Ends it in order, after which each request is in its log; then all its logs."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(10)
        files = [path for path in self._folder.rglob("*") if path.is_file()]
        return "".join(path.read_text(errors="replace") for path in files if path.suffix == ".log")

    def errors(self) -> str:
        """What it wrote to standard error, if it has ended."""
        ended = self._process.poll() is not None and self._process.stderr is not None
        return self._process.stderr.read().decode() if ended and self._process.stderr else ""

    def close(self) -> None:
        """Ends it, and deletes its folder."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._guard.dismiss()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, configuration: str) -> None:
        (self._folder / "nginx.conf").write_text(configuration)

    def _command(self, *more: str) -> list[str]:
        return [
            program(),
            "-p",
            str(self._folder),
            "-c",
            "nginx.conf",
            "-e",
            "logs/error.log",
            *more,
        ]

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def program() -> str:
    """nginx's path. Skips the test where there is none: Debian's package ``nginx`` has it."""
    found = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    return found


def render(
    replicas: Sequence[int],
    *,
    port: int,
    folder: Path,
    tls: tuple[Path, Path] | None,
    workers: int = 1,
) -> str:
    """deploy/nginx.conf with its placeholders replaced, and its files in ``folder``.

    Raises ValueError if the configuration has no such placeholder any more.
    """
    text = CONFIGURATION.read_text()
    options = REPLICA.search(text)
    if options is None:
        raise ValueError("deploy/nginx.conf names no replica")
    servers = "\n        ".join(f"server 127.0.0.1:{each}{options[1]}" for each in replicas)
    text = REPLICA.sub("", text, count=len(REPLICA.findall(text)) - 1)
    text = REPLICA.sub(servers, text)
    temporary = "\n".join(f"    {name}_temp_path {folder}/{name};" for name in _TEMPORARY)
    replaced = {
        "worker_processes auto;": f"worker_processes {workers};",
        "worker_rlimit_nofile 65536;": "",
        "worker_connections 16384;": "worker_connections 512;",
        "/var/log/nginx/": f"{folder}/logs/",
        "http {\n": f"http {{\n{temporary}\n",
    }
    if tls is None:
        replaced["listen 443 ssl http2;"] = f"listen 127.0.0.1:{port};"
        text = re.sub(r"\n *ssl_.*;", "", text)
    else:
        replaced["listen 443 ssl http2;"] = f"listen 127.0.0.1:{port} ssl http2;"
        replaced["/etc/nginx/tls/sms.example.com.pem"] = str(tls[0])
        replaced["/etc/nginx/tls/sms.example.com.key"] = str(tls[1])
    for old, new in replaced.items():
        if old not in text:
            raise ValueError(f"deploy/nginx.conf no longer has {old!r}")
        text = text.replace(old, new)
    return text


def _user() -> str:
    """Workers of a root's nginx run as somebody who cannot reach the test's folder."""
    return "user root;" if os.getuid() == 0 else ""
