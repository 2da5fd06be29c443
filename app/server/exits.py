"""Tells the service that its server begins to exit, while requests are still being answered.

A server waits for open responses before it ends the lifespan, so a response that never ends by
itself has to hear of the exit some other way. There is no hook for it: the signals are the hook.
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
    """Have ``callback`` called on the event loop when the process is told to exit.

    Whoever handled the signals before, as the server does, still does. Where nobody does, or this
    is not the main thread, as when a test runs a server, nothing is installed.
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
