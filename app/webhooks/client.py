"""The HTTP client of one webhook. The receiver is the open internet: of its response only status
and Retry-After are used; head and body are read up to the limits below, and the beginning of the
body is kept as text, to find out what went wrong.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import aiohttp

from app.parts.retry_after import retry_after
from app.webhooks.targets import TargetRefused, Targets

MAX_BODY = 16 * 1024
"""Bytes read of a response's body: only a connection whose response was read to its end can be
reused; one with a longer response is closed."""
MAX_KEPT = 500
"""Characters kept of a response's body."""
_LONGEST_CHARACTER = 4
"""Bytes of a character in UTF-8, at most."""
MAX_HEAD_LINE = 8 * 1024
MAX_HEADERS = 100
KEEPALIVE = 5.0
"""Seconds that an idle connection is kept."""

_NOT_SENT_BY_DEFAULT = ("Accept", "Accept-Encoding")  # no body is used, so none is asked for


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """How a call ended. ``error`` is None for success; ``retry_after`` is in seconds.

    ``response`` is the beginning of the body, None where there is none; ``began_at`` and
    ``took_ms`` are those of the whole attempt, as the deliverer measures it.
    """

    status_code: int | None
    error: str | None
    retry_after: float | None = None
    response: str | None = None
    began_at: datetime | None = None
    took_ms: int = 0

    @property
    def succeeded(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver answered 410 Gone: it wants nothing more, ever."""
        return self.status_code == HTTPStatus.GONE


class WebhookClient:
    """One session per webhook and URL: webhooks do not wait for each other's connections, and none
    leads to an earlier URL. ``timeout``: seconds for all of a call, name resolution included.

    ``targets`` resolves and checks the host for each new connection, so that the address connected
    to is the address checked. Redirects are not followed and proxies of the environment not used:
    both lead to hosts that were not checked.
    """

    def __init__(
        self,
        *,
        targets: Targets,
        timeout: float,
        connections: int,
        tls: ssl.SSLContext | bool = True,
    ) -> None:
        self._targets = targets
        self._timeout = timeout
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=targets,
                ttl_dns_cache=0,  # shared by calls that start together, and not kept
                ssl=tls,  # True: the context that aiohttp makes when it is imported
                limit=connections,
                keepalive_timeout=KEEPALIVE,
            ),
            timeout=aiohttp.ClientTimeout(),  # none: aiohttp's would be rounded up to a second
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=_NOT_SENT_BY_DEFAULT,
            max_line_size=MAX_HEAD_LINE,
            max_field_size=MAX_HEAD_LINE,
            max_headers=MAX_HEADERS,
            read_bufsize=MAX_BODY,
            trace_configs=[_progress_trace()],
        )

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> DeliveryResult:
        """Call once. Network errors and refused URLs are results, not exceptions.

        The status decides, even where the rest of the response does not arrive.
        """
        result: DeliveryResult | None = None
        beginning = bytearray()
        progress = _Progress()
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(
                    self._targets.check(url),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    trace_request_ctx=progress,
                ) as response,
            ):
                result = _result_of(response, datetime.now(UTC))
                await _read_body(response, beginning)
        except TargetRefused as refused:
            error = f"the URL {refused}"
        except TimeoutError:
            error = f"{progress.missing} within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError) as failure:
            error = _in_words(failure)
        if result is None:
            return DeliveryResult(None, error)
        return replace(result, response=_as_text(beginning))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()


@dataclass(slots=True)
class _Progress:
    """What a call still waits for, to say what was missing when its time is up."""

    missing: str = "it could not be reached"


def _progress_trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    def note(missing: str) -> Any:
        async def on_signal(_session: object, context: Any, _params: object) -> None:
            context.trace_request_ctx.missing = missing

        return on_signal

    trace.on_dns_resolvehost_start.append(note("its name could not be resolved"))
    trace.on_dns_resolvehost_end.append(note("it could not be reached"))
    trace.on_request_headers_sent.append(note("it did not answer"))
    return trace


async def _read_body(response: aiohttp.ClientResponse, beginning: bytearray) -> None:
    """Read the body, and append its beginning to ``beginning`` as it arrives: also of one that is
    never complete.
    """
    size, kept = 0, MAX_KEPT * _LONGEST_CHARACTER
    if "Content-Encoding" in response.headers:  # compressed: no text
        kept = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        beginning += chunk[: kept - len(beginning)]
        if size > MAX_BODY:
            return


def _as_text(body: bytearray) -> str | None:
    """Its beginning; what is neither a character nor a line break shows as U+FFFD."""
    text = body.decode("utf-8", "replace")[:MAX_KEPT]
    shown = (each if each.isprintable() or each in "\r\n\t" else "\ufffd" for each in text)
    return "".join(shown) or None


def _result_of(response: aiohttp.ClientResponse, now: datetime) -> DeliveryResult:
    status = response.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return DeliveryResult(status, None)
    error = f"it answered {status}"
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        error += ", and redirects are not followed"
    text = response.headers.get("Retry-After") if status in _WITH_RETRY_AFTER else None
    return DeliveryResult(status, error, retry_after(text, now))


_WITH_RETRY_AFTER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def _in_words(error: Exception) -> str:
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "the call broke off")


# Subclasses first. The system's own messages are left out: they would disclose our network.
_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ClientConnectorDNSError, "its name could not be resolved"),
    (aiohttp.ClientSSLError, "no secure connection could be made: is its certificate valid?"),
    (aiohttp.ClientConnectorError, "it could not be reached"),
)
