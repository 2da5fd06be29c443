"""A command run in this process, as `dlr` would run it: one of its own takes seconds to start."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

import structlog

from app.cli import main


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def dlr(words: Sequence[str], env: Mapping[str, str]) -> Done:
    """Runs a command with these words and these settings, and no others."""
    out, errors = StringIO(), StringIO()
    code: object = None
    with (
        environment(env),
        unchanged_process(),
        unchanged_logging(),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code
    return Done(code if isinstance(code, int) else 0, out.getvalue(), errors.getvalue())


@contextmanager
def unchanged_process() -> Iterator[None]:
    """What a command sets for its process: it is not ours to keep."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, set())
    umask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(umask)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in before:
        if name.startswith("DLR_"):
            del os.environ[name]
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def unchanged_logging() -> Iterator[None]:
    """And none that shows lines as they come: it would put another stdout in the place of ours."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:], level = before
        root.setLevel(level)
        structlog.reset_defaults()
