"""What is a Client's own: the thread that its calls run in."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from itertools import islice

import httpx
import pytest

from iovox_receipts import Client, ClientError
from tests.client.misbehaving import server, silent
from tests.client.scripted import KEY, URL, message
from tests.support.process import clean_environment
from tests.support.processes import wait_until

TRACE: ContextVar[str] = ContextVar("TRACE", default="none")


def answering() -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: message())


def threads() -> int:
    return sum(one.name == "iovox-receipts" for one in threading.enumerate())


def test_its_thread_begins_with_the_first_call_and_ends_with_the_client() -> None:
    before = threads()
    with Client(URL, KEY, transport=answering()) as client:
        assert threads() == before
        client.status("x")
        client.status("x")
        assert threads() == before + 1
    assert threads() == before
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.status("x")


def test_a_client_that_nobody_closes_leaves_no_thread() -> None:
    before = threads()
    client = Client(URL, KEY, transport=answering())
    client.status("x")
    del client
    gc.collect()
    assert wait_until(lambda: threads() == before, timeout=5)


def test_many_threads_share_one() -> None:
    before = threads()
    with Client(URL, KEY, transport=answering()) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(client.status, ["x"] * 200))
    assert [one.status for one in found] == ["SUBMITTED"] * 200
    assert threads() == before


def test_what_waits_in_another_thread_is_cancelled_by_a_close() -> None:
    with server(silent) as url, ThreadPoolExecutor(1) as pool:
        client = Client(url, KEY, patience=60)
        waiting = pool.submit(client.status, "x")
        assert wait_until(lambda: threads() > 0, timeout=5)
        time.sleep(0.1)
        client.close()
        assert waiting.exception(timeout=5) is not None


def test_an_iterator_that_is_left_hangs_up() -> None:
    ended = threading.Event()

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            while True:
                yield b'id: e1\ndata: {"id": "e1", "message_id": "m", "status": "S", '
                yield b'"at": "2020-05-06T17:37:46Z", "recorded_at": "2020-05-06T17:37:46Z"}\n\n'

        async def aclose(self) -> None:
            ended.set()

    def answer(_: httpx.Request) -> httpx.Response:
        headers = {"Content-Type": "text/event-stream"}
        return httpx.Response(200, headers=headers, stream=Endless())

    with Client(URL, KEY, transport=httpx.MockTransport(answer)) as client:
        assert len(list(islice(client.stream(), 3))) == 3
        assert ended.wait(5)


def test_the_callers_context_reaches_the_transport() -> None:
    """Tracing of httpx finds the span that is around the call."""
    seen: list[str] = []

    def answer(_: httpx.Request) -> httpx.Response:
        seen.append(TRACE.get())
        return message()

    with Client(URL, KEY, transport=httpx.MockTransport(answer)) as client:
        client.status("x")
        TRACE.set("mine")
        client.status("x")
    assert seen == ["none", "mine"]


async def test_it_can_be_used_where_an_event_loop_runs() -> None:
    with Client(URL, KEY, transport=answering()) as client:
        assert client.status("x").status == "SUBMITTED"  # it blocks the loop, as whatever blocks


@pytest.fixture
def pythons_own_ctrl_c() -> Iterator[None]:
    """KeyboardInterrupt. Servers that other tests run in this process have handlers of their own,
    and leave them where they do not end in the opposite order of their start.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt_the_process() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_this_thread() -> None:
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


@pytest.mark.usefixtures("pythons_own_ctrl_c")
@pytest.mark.parametrize("interrupt", [interrupt_the_process, interrupt_this_thread])
def test_ctrl_c_ends_a_call(interrupt: Callable[[], None]) -> None:
    """Whichever thread of the process the signal comes to."""
    with server(silent) as url, Client(url, KEY, patience=60) as client:
        timer = threading.Timer(0.3, interrupt)
        timer.start()
        started_at = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            client.status("x")
        assert time.monotonic() - started_at < 20
        timer.join()
        with pytest.raises(ClientError):
            client.status("x", patience=0.2)


FORKING = """
import os, sys, warnings
import httpx
from iovox_receipts import Client
warnings.simplefilter("ignore", DeprecationWarning)
made = httpx.Response(200, json={})
client = Client("https://sms.example.com", "key", transport=httpx.MockTransport(lambda _: made))
if sys.argv[1] == "used":
    client.stats()
if (child := os.fork()) == 0:
    try:
        client.stats()
    except RuntimeError as error:
        print(error, flush=True)
        os._exit(3)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize(("how", "code"), [("unused", 0), ("used", 3)])
def test_a_process_that_was_forked_never_waits_for_a_thread_it_has_not(how: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", FORKING, how],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=clean_environment({}),
    )
    assert (done.returncode, done.stderr) == (code, "")
    assert ("make one in each process" in done.stdout) == (code == 3)
