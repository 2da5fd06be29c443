"""A process's own disk: confirms what was erased from it. The folder is DLR_SPOOL_DIR.

A folder's identity is a file in it, so that all processes that write there are one.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.errors import StoreRefused, StoreUnavailable, Unavailable
from app.store.erasing.store import ErasureStore

IDENTITY = "identity"
LOOK_EVERY = 2.0
SEEN_EVERY = 60.0

log = structlog.get_logger(__name__)


class DiskKeeper:
    """``cleanse`` erases from the disk what the database has by now; it returns whether nothing
    of before is left there.
    """

    def __init__(
        self, store: ErasureStore, folder: Path, *, cleanse: Callable[[], Awaitable[bool]]
    ) -> None:
        self._store = store
        self._folder = folder
        self._cleanse = cleanse
        self._seen_at = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.run_once()
            except (StoreUnavailable, StoreRefused, Unavailable) as error:
                log.warning("disk_not_confirmed", reason=error.detail)
            except OSError as error:
                log.error("disk_has_no_identity", reason=str(error))
            except Exception:
                log.exception("disk_confirmation_failed")
            await asyncio.sleep(LOOK_EVERY)

    async def run_once(self) -> None:
        """Register this disk now and then; confirm what is erased from the database."""
        disk = identity(self._folder)
        now = asyncio.get_running_loop().time()
        if now - self._seen_at >= SEEN_EVERY:
            await self._store.see_disk(disk, socket.gethostname())
            self._seen_at = now
        waiting = [
            erasure.id
            for erasure in await self._store.open()
            if erasure.erased_at is not None and disk in {one.id for one in erasure.waiting_for}
        ]
        if waiting and await self._cleanse():
            for erasure_id in waiting:
                await self._store.confirm(erasure_id, disk)


def identity(folder: Path) -> UUID:
    """The id of a folder; one that has none is given one. Raises OSError."""
    path = folder / IDENTITY
    with suppress(OSError, ValueError):
        return UUID(path.read_text().strip())
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f"{IDENTITY}.{uuid4().hex}"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{uuid4()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(new, path)  # whoever comes first names it
    except FileExistsError:
        with suppress(ValueError):
            return UUID(path.read_text().strip())
        new.replace(path)  # it was damaged
        return UUID(path.read_text().strip())
    finally:
        new.unlink(missing_ok=True)
    return UUID(path.read_text().strip())
