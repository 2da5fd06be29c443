"""SIGHUP: asks a process to read its secrets again, and never ends it.

Its default action ends a process at once, with the sends that it has under way. So the signal is
blocked from the first moment, in the process that starts others too, until there is a handler: one
that comes meanwhile stays pending, and is handled then.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def block() -> None:
    """Block the signal from now on, also in the processes that this one starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def unblock() -> None:
    """Let it reach its handler, also one that is pending."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


@contextmanager
def blocked() -> Iterator[None]:
    """Block it within the ``with`` statement."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def on_hangup(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` on the event loop for each SIGHUP; afterwards it is blocked.

    Where this is not the main thread, as when a test runs a server, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGHUP)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, callback)
    unblock()
    try:
        yield
    finally:
        block()
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
