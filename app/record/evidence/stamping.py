"""The client of a time stamping authority (RFC 3161). Its responses are untrusted until checked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import aiohttp
import structlog

from app.record.evidence.log import checkpoint_of
from app.record.evidence.stamps import LARGEST, Stamp, check_stamp, request_for
from app.store.evidence.reading import EvidenceReader
from app.store.evidence.rows import CheckpointRow

TIMEOUT = 20.0
"""Seconds for the authority to answer."""
RETRY_AFTER = 60.0
"""Seconds between a failure and the next request."""

log = structlog.get_logger(__name__)


class NotStamped(Exception):
    """The authority returned no valid stamp; the text says why."""


class Stamper:
    """Has the newest checkpoint stamped, which covers everything that was appended before."""

    def __init__(self, *, url: str, reader: EvidenceReader, now: Callable[[], datetime]) -> None:
        self._url = url
        self._reader = reader
        self._now = now
        self._not_before = 0.0

    async def stamp_newest(self) -> None:
        """Have the newest checkpoint stamped, unless it has a stamp or the authority failed within
        RETRY_AFTER. A failure is logged. Raises StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return
        _, newest = await self._reader.newest()
        if newest is None or newest.stamp is not None:
            return
        try:
            await self.stamp(newest)
        except NotStamped as error:
            self._not_before = loop.time() + RETRY_AFTER
            log.warning("evidence_not_stamped", reason=str(error))

    async def stamp(self, checkpoint: CheckpointRow) -> Stamp:
        """Have a checkpoint stamped, and store the stamp. Raises NotStamped, StoreUnavailable."""
        text = checkpoint_of(checkpoint).text.encode()
        token = await self._ask(request_for(text))
        try:
            stamp = check_stamp(token, text)
        except ValueError as error:
            raise NotStamped(f"its answer is no stamp of the checkpoint: {error}") from None
        await self._reader.stamp(checkpoint, token, self._now())
        return stamp

    async def _ask(self, request: bytes) -> bytes:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        headers = {"Content-Type": "application/timestamp-query"}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(
                    self._url, data=request, headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status != 200:
                    raise NotStamped(f"the authority answered {response.status}")
                return await response.content.read(LARGEST + 1)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotStamped(f"the authority cannot be reached: {error}") from None
