"""Reloading of settings while the process runs. Generic.

A setting that is invalid keeps its old value, and the log says so: a mistake in a file must not
take from a running process what it works with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import structlog

Settings = TypeVar("Settings")

log = structlog.get_logger(__name__)


class Reloader(Generic[Settings]):
    """Reloads settings on request, and applies those that have changed.

    ``read`` returns the current settings with the reloaded values, and what is wrong with those
    that keep their old value, by name; it is called in a thread. ``replace`` returns settings with
    other values. ``uses``: what to call with the new settings if one of these fields has changed;
    if it raises one of ``refusals``, such as a ValueError, they keep their old values.
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
        self._requested = asyncio.Event()

    def request(self) -> None:
        """Reload soon. Several requests before that are one."""
        self._requested.set()

    async def run(self) -> None:
        """Reload whenever it is requested, until cancelled."""
        while True:
            await self._requested.wait()
            self._requested.clear()
            try:
                await self._reload()
            except Exception:
                log.exception("secrets_not_read_again")

    async def _reload(self) -> None:
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
