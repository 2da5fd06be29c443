"""One table of tests for both clients: an AsyncClient that is driven as if it blocked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, cast

from iovox_receipts import AsyncClient, Client

Make = Callable[..., Client]


class Driven:
    """The methods of an AsyncClient, or of its webhooks, each run to its end on one loop."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._target)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return Driven(found, self._runner)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = found(*args, **kwargs)
            if isinstance(answer, AsyncIterator):
                return self._each(answer)
            return self._runner.run(answer)

        return call

    def close(self) -> None:
        """As often as one likes, like a Client."""
        if not self._closed:
            self._runner.run(self._target.close())
            self._runner.close()
        self._closed = True

    def _each(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items)

        while True:
            try:
                item = self._runner.run(following())
            except StopAsyncIteration:
                return
            yield item


def driven(*args: Any, **options: Any) -> Client:
    """An AsyncClient in a Client's clothes."""
    return cast(
        "Client",
        Driven(AsyncClient(*args, **options), asyncio.Runner(loop_factory=asyncio.new_event_loop)),
    )


CLIENTS: dict[str, Make] = {"Client": Client, "AsyncClient": driven}
