"""Settings that are read again while the process runs. Generic.

What is at fault keeps its old value, and the log says so: a mistake in a file must not take from a
running process what it works with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import structlog

Settings = TypeVar("Settings")

log = structlog.get_logger(__name__)


class Rereader(Generic[Settings]):
    """Reads again when asked, and hands what has changed to those who use it.

    ``read``: the settings given to it with what is to be read again, and what is wrong with the
    rest, by name; called in a thread. ``replace``: settings with other fields. ``uses``: what to do
    with the new settings where one of these fields has changed; one of ``refusals``, such as a
    ValueError, keeps the old ones.
    """

    def __init__(
        self,
        current: Settings,
        *,
        read: Callable[[Settings], tuple[Settings, Mapping[str, str]]],
        replace: Callable[[Settings, Mapping[str, object]], Settings],
        uses: Mapping[tuple[str, ...], Callable[[Settings], None]],
        refusals: tuple[type[Exception], ...] = (ValueError,),
    ) -> None:
        self._refusals = refusals
        self._current = current
        self._read = read
        self._replace = replace
        self._uses = uses
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read again soon. Several times before that are one."""
        self._asked.set()

    async def run(self) -> None:
        """Read again whenever asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self.read_again()
            except Exception:
                log.exception("secrets_not_read_again")

    async def read_again(self) -> None:
        """Read now, and use what has changed."""
        found, faults = await asyncio.to_thread(self._read, self._current)
        for name, reason in faults.items():
            _log_kept(name, reason)
        changed: list[str] = []
        for names, use in self._uses.items():
            values = {name: getattr(found, name) for name in names}
            new = [name for name in names if values[name] != getattr(self._current, name)]
            if not new:
                continue
            try:
                use(found)
            except self._refusals as error:
                _log_kept(" ".join(new), str(error))
            else:
                self._current = self._replace(self._current, values)
                changed += new
        log.info("secrets_read_again", changed=changed, kept=sorted(faults))


def _log_kept(name: str, reason: str) -> None:
    log.error("secret_kept", setting=name, reason=reason, consequence="the old one stays in use")
