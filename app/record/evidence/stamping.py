"""Asks a time stamping authority (RFC 3161) to stamp checkpoints. What it answers is checked."""

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
TRIED_AGAIN_AFTER = 60.0
"""Seconds after a failure."""

log = structlog.get_logger(__name__)


class NotStamped(Exception):
    """The authority did not answer with a stamp; the text says what it did."""


class Stamper:
    """Stamps the newest checkpoint that has no stamp: it covers all that is older."""

    def __init__(self, *, url: str, reader: EvidenceReader, now: Callable[[], datetime]) -> None:
        self._url = url
        self._reader = reader
        self._now = now
        self._not_before = 0.0

    async def stamp_newest(self) -> bool:
        """Stamp the newest checkpoint unless it is, or the authority has just failed."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._not_before:
            return True
        _, newest = await self._reader.newest()
        if newest is None or newest.stamp is not None:
            return True
        try:
            await self.stamp(newest)
        except NotStamped as error:
            self._not_before = loop.time() + TRIED_AGAIN_AFTER
            log.warning("evidence_not_stamped", reason=str(error))
        return True

    async def stamp(self, checkpoint: CheckpointRow) -> Stamp:
        """Have one checkpoint stamped, and keep that. Raises NotStamped, StoreUnavailable."""
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
