"""SIGHUP: asks a process to read its secrets again, and never ends it.

By default it ends a process at once, with what is on its way to iovox. So it is held back from the
first moment, and by whoever starts a process, until there is somebody to handle it: one that comes
meanwhile is handled then.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def hold() -> None:
    """Hold it back from now on, also in the processes that this one starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def release() -> None:
    """Let it, and one that was held back, reach its handler."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextmanager
def held() -> Iterator[None]:
    """Hold it back for the length of the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def on_hangup(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` on the event loop for each one that comes; it is held back afterwards.

    Where this is not the main thread, as when a test runs a server, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGHUP)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, callback)
    release()
    try:
        yield
    finally:
        hold()
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
