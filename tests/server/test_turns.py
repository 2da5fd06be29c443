"""Requests share the event loop, and a receipt under way gets what it needs of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

from app.server.reading import HeldFlow
from app.server.turns import AT_ONCE, BESIDE_A_RECEIPT, REST, Turns

STEPS = 40
"""Times that the thread of a receipt gives up the interpreter: about as often as SQLite does."""


def steps() -> None:
    """Work that waits for the interpreter again and again."""
    for _ in range(STEPS):
        threading.Event().wait(0.0001)


class Flood:
    """Requests of connections that each send the next one when one is answered."""

    def __init__(self, turns: Turns, connections: int) -> None:
        self.began = 0
        self._turns = turns
        self._is_over = False
        for _ in range(connections):
            turns.begin(self._request)

    def end(self) -> None:
        self._is_over = True

    def _request(self) -> None:
        self.began += 1
        if not self._is_over:
            asyncio.get_running_loop().call_soon(self._turns.begin, self._request)


async def test_a_thread_beside_a_flood_gets_the_interpreter() -> None:
    loop = asyncio.get_running_loop()
    turns = Turns(loop)
    flood = Flood(turns, connections=100)
    turns.receipt_begins()
    started, before = time.monotonic(), flood.began
    await loop.run_in_executor(None, steps)
    seconds = time.monotonic() - started
    began = flood.began - before
    turns.receipt_ends()
    flood.end()
    assert began <= BESIDE_A_RECEIPT + seconds / REST + AT_ONCE
    assert began > 1, "nor do the requests wait for the receipt"


async def test_without_a_receipt_nobody_rests() -> None:
    turns = Turns(asyncio.get_running_loop())
    began: list[int] = []
    for number in range(100):
        turns.begin(lambda number=number: began.append(number))  # type: ignore[misc]
    for _ in range(100 // AT_ONCE):
        assert len(began) % AT_ONCE == 0
        await asyncio.sleep(0)
    assert began == list(range(100))


async def test_a_receipt_in_pieces_counts_until_it_is_answered() -> None:
    turns = Turns(asyncio.get_running_loop())
    answered = asyncio.Event()

    async def app(*_: object) -> None:
        await answered.wait()

    receipt = asyncio.create_task(turns.as_receipt(app)({}, None, None))
    await asyncio.sleep(0)
    began = await _begun_in(turns, iterations=200)
    answered.set()
    await receipt
    await asyncio.sleep(2 * REST)
    assert began <= BESIDE_A_RECEIPT + AT_ONCE
    assert await _begun_in(turns, iterations=20) >= 20


async def test_reading_goes_on_in_turn() -> None:
    turns = Turns(asyncio.get_running_loop())
    transports = [Transport() for _ in range(3 * AT_ONCE)]
    flows = [HeldFlow(each, turns) for each in transports]  # type: ignore[arg-type]
    for flow in flows:
        flow.yield_turn()
    flows[-1].hold(held=True)
    await asyncio.sleep(0)
    assert sum(each.is_reading for each in transports) <= 2 * AT_ONCE
    for _ in range(5):
        await asyncio.sleep(0)
    assert [each.is_reading for each in transports] == [True] * (len(flows) - 1) + [False]
    flows[-1].hold(held=False)
    await asyncio.sleep(0)
    assert transports[-1].is_reading


class Transport:
    def __init__(self) -> None:
        self.is_reading = True

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def is_closing(self) -> bool:
        return False


async def _begun_in(turns: Turns, iterations: int) -> int:
    """How many of endless requests begin in this many iterations of an event loop that is idle."""
    began = 0
    is_over = False

    def request() -> None:
        nonlocal began
        began += 1
        again: Callable[[], None] = request
        if not is_over:
            asyncio.get_running_loop().call_soon(turns.begin, again)

    turns.begin(request)
    for _ in range(iterations):
        await asyncio.sleep(0)
    is_over = True
    return began
