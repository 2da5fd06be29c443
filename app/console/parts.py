"""What the pages share: stores, the OpenID provider, addresses, and the badge of "Attention"."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from fastapi import Request

from app.console.attention import Attention
from app.console.openid import Provider
from app.console.pages import base
from app.console.recording import Recording
from app.errors import ServiceError
from app.store.clock import Now
from app.store.console_sessions import ConsoleSessionStore
from app.store.overview import OverviewStore
from app.store.verbatim import VerbatimStore
from app.web.caller import Caller

BADGE_LASTS = 15.0
"""Seconds for which the number beside "Attention" is not counted again."""


class Console:
    """``url``: where people reach the console, if a proxy or a name of its own is in front;
    ``keep_days``: how long data is kept, None for ever.
    """

    def __init__(
        self,
        *,
        sessions: ConsoleSessionStore,
        attention: Attention,
        verbatim: VerbatimStore,
        overview: OverviewStore,
        recording: Recording,
        now: Now,
        url: str | None = None,
        provider: Provider | None = None,
        keep_days: int | None = None,
    ) -> None:
        self.sessions = sessions
        self.attention = attention
        self.verbatim = verbatim
        self.overview = overview
        self.recording = recording
        self.now = now
        self.provider = provider
        self.keep_days = keep_days
        self.url = url
        self.host = urlsplit(url).netloc if url else None
        self.is_https = bool(url and url.startswith("https:"))
        self._badges: dict[str | None, tuple[float, int | None]] = {}

    @property
    def provider_name(self) -> str | None:
        """The name of the provider to sign in with, if any."""
        return None if self.provider is None else self.provider.name

    def absolute(self, request: Request, path: str) -> str:
        """The absolute URL of a page, as a provider needs it."""
        origin = self.url or f"{request.url.scheme}://{request.url.netloc}"
        return origin.rstrip("/") + base(request) + path

    async def badge(self, caller: Caller) -> int | None:
        """How many kinds of trouble there are, cached; None if it cannot be read."""
        counted_at, count = self._badges.get(caller.sees, (-BADGE_LASTS, None))
        if time.monotonic() - counted_at < BADGE_LASTS:
            return count
        try:
            count = await self.attention.badge(caller)
        except ServiceError:
            count = None
        if len(self._badges) > 1_000:
            self._badges.clear()
        self._badges[caller.sees] = (time.monotonic(), count)
        return count

    def forget_badges(self) -> None:
        """Count anew: somebody did something about the trouble."""
        self._badges.clear()
