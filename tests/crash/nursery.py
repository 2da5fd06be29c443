"""Starts ``dlr serve`` in a fraction of a second: forked off a process that has imported it all.

A restart costs one to three seconds of imports, and twenty kills want twenty of them. What runs is
the command itself, from its first line on, in a process of its own.

Run as ``python -m tests.crash.nursery SOCKET``. Each connection sends one JSON line, {"args",
"env", "cwd", "log", "largest_file"}, and is told the process id.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
from importlib import import_module
from pathlib import Path

PRELOADED = ("app.cli.serve", "app.main")


def start(
    address: Path,
    *,
    args: list[str],
    env: dict[str, str],
    cwd: Path,
    log: Path,
    largest_file: int | None = None,
) -> int:
    """Ask the nursery for a process; answers its id. ``largest_file``: bytes, RLIMIT_FSIZE."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        caller.connect(str(address))
        wish = {
            "args": args,
            "env": env,
            "cwd": str(cwd),
            "log": str(log),
            "largest_file": largest_file,
        }
        caller.sendall(json.dumps(wish).encode() + b"\n")
        with caller.makefile() as answer:
            return int(answer.readline())


def _main(address: str) -> None:
    for name in PRELOADED:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            caller, _ = listener.accept()
            with caller, caller.makefile("rwb") as stream:
                wish = json.loads(stream.readline())
                child = os.fork()
                if not child:
                    listener.close()
                    break
                stream.write(f"{child}\n".encode())
    _serve(wish)


def _serve(wish: dict[str, object]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(str(wish["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(str(wish["cwd"]))
    env, args = wish["env"], wish["args"]
    assert isinstance(env, dict)
    assert isinstance(args, list)
    largest_file = wish["largest_file"]
    if isinstance(largest_file, int):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["dlr", *args]
    import_module("app.cli").main()


if __name__ == "__main__":
    _main(sys.argv[1])
