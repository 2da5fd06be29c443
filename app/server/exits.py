"""Calls back when the server begins to exit, while responses are still open.

uvicorn waits for open responses before it ends the lifespan, so endless responses have to be ended
before that. uvicorn has no hook for it; signal handlers serve as one.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_exit(callback: Callable[[], None]) -> Iterator[None]:
    """Call ``callback`` on the event loop when the process gets SIGTERM or SIGINT.

    The previous handlers, the server's, are still called. Where there are none, or this is not the
    main thread, as when a test runs a server, nothing is installed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(callback)
        handler = handlers[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    ours = [number for number, handler in handlers.items() if callable(handler)]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, handlers[number])
