"""Blocking forms of asynchronous methods, which run on an event loop in a thread of its own.

So there is one implementation, and deadlines hold for blocking calls too: with blocking sockets
only each read has a time-out, and name resolution has none.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Target = TypeVar("Target")

Work = Callable[[], Awaitable[T]]
Tasks = set[asyncio.Task[Any]]
Closing = Callable[[], Awaitable[None]]

SIGNALS_EVERY = 1.0
"""Seconds between two checks for Ctrl-C while a call is waited for."""


class LoopThread:
    """An event loop in a daemon thread, which starts with the first call. Thread-safe.

    It ends with ``close``, or when this object is garbage-collected. A process forked after the
    first call does not have the thread, so a call in it raises RuntimeError.
    """

    def __init__(self, *, closing: Closing) -> None:
        """``closing`` is awaited on the loop before it ends."""
        self._closing = closing
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._process = 0
        self._tasks: Tasks = set()
        self._closed = False

    def run(self, work: Work[T]) -> T:
        """The result of the work. Ctrl-C while it is waited for cancels it."""
        future: Future[T] = Future()
        with self._lock:  # nothing may be handed to a loop that `close` has stopped
            self._running().call_soon_threadsafe(_begin, work, future, self._tasks)
        try:
            return _result_of(future)
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs, and end the thread. Later calls raise RuntimeError."""
        with self._lock:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and self._process == os.getpid():
            _stop(loop)
            thread.join()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise RuntimeError("this client is closed")
        if self._loop is None:
            self._loop, self._process = asyncio.new_event_loop(), os.getpid()
            # The thread must not refer to this object, which could then never be collected.
            self._thread = threading.Thread(
                target=_serve,
                args=(self._loop, self._tasks, self._closing),
                name="iovox-receipts",
                daemon=True,
            )
            self._thread.start()
            weakref.finalize(self, _stop, self._loop).atexit = False
        elif self._process != os.getpid():
            raise RuntimeError(
                "this client was used before the process was forked; make one in each process"
            )
        return self._loop


class Blocking(Generic[Target]):
    """The blocking form of a ``Target``: its methods are made by ``blocking`` and ``iterating``."""

    def __init__(self, target: Target, thread: LoopThread) -> None:
        self._target = target
        self._thread = thread


def blocking(
    method: Callable[Concatenate[Target, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking[Target], P], T]:
    """The method, with the same parameters; it returns the coroutine's result."""

    @wraps(method)
    def call(self: Blocking[Target], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._thread.run(partial(method, self._target, *args, **kwargs))

    return call


def iterating(
    method: Callable[Concatenate[Target, P], AsyncIterator[T]],
) -> Callable[Concatenate[Blocking[Target], P], Iterator[T]]:
    """The method, with the same parameters; its iterator is an ordinary one."""

    @wraps(method)
    def call(self: Blocking[Target], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return _iterate(method(self._target, *args, **kwargs), self._thread)

    return call


def _iterate(items: AsyncIterator[T], thread: LoopThread) -> Iterator[T]:
    """If this iterator is dropped before its end, so is ``items``, and asyncio closes that one."""
    while True:
        try:
            item = thread.run(partial(anext, items))
        except StopAsyncIteration:
            return
        yield item


def _result_of(future: Future[T]) -> T:
    """Wait in steps: Python handles a signal only between two of them if another thread received
    it, and on Windows always.
    """
    while True:
        try:
            return future.result(SIGNALS_EVERY)
        except TimeoutError:
            if future.done():  # the TimeoutError is the call's own
                return future.result()


def _begin(work: Work[T], future: Future[T], tasks: Tasks) -> None:
    """Called on the loop, so that the coroutine is created there: a Ctrl-C in a caller's thread, at
    whatever instruction, cannot leave one that is never awaited.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(_await(work))
    tasks.add(task)
    task.add_done_callback(tasks.discard)
    task.add_done_callback(partial(_copy_result, future))

    def cancel(ended: Future[T]) -> None:
        if ended.cancelled() and not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)

    future.add_done_callback(cancel)


async def _await(work: Work[T]) -> T:
    return await work()


def _copy_result(future: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        future.cancel()
        return
    error = task.exception()
    if not future.set_running_or_notify_cancel():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(task.result())


def _serve(loop: asyncio.AbstractEventLoop, tasks: Tasks, closing: Closing) -> None:
    try:
        loop.run_forever()
    finally:
        loop.run_until_complete(_end(tasks, closing))
        loop.close()


async def _end(tasks: Tasks, closing: Closing) -> None:
    """Unlike ``asyncio.run`` this does not wait for threads: one may hang in name resolution."""
    for task in tasks:
        task.cancel()
    # A dropped iterator is closed by a task that asyncio starts one iteration later, and then drops
    # the iterator inside it: after two iterations without a task all are closed.
    quiet_iterations = 0
    while quiet_iterations < 2:
        await asyncio.sleep(0)
        quiet_iterations = 0 if await _others_ended() else quiet_iterations + 1
    await closing()


async def _others_ended() -> bool:
    """Wait for all other tasks; whether there were any. There may be new ones now."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)
    return bool(others)


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.call_soon_threadsafe(loop.stop)
    except RuntimeError:
        return  # it is closed already
