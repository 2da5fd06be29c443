"""One call to a webhook's receiver. What answers is the open internet: not more of it is believed
than its status and its Retry-After, and little more is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from app.webhooks.targets import TargetRefused, Targets

MOST_READ = 16 * 1024
"""Bytes of an answer's body: they say nothing to us, but a connection is only used again once they
are read."""
ADDRESSES_TRIED = 3
KEEPALIVE = 5.0
"""Seconds that an idle connection is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call. ``error`` is None where it was taken; ``retry_after`` is in seconds."""

    status_code: int | None
    error: str | None
    retry_after: float | None = None

    @property
    def was_taken(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more, ever."""
        return self.status_code == httpx.codes.GONE


class Poster:
    """Calls one host, by connections that nobody else uses. ``timeout``: seconds for all of a call.

    No proxy of the environment is used, and no redirect is followed: both would go where nothing
    was checked.
    """

    def __init__(
        self, *, targets: Targets, tls: ssl.SSLContext, timeout: float, connections: int
    ) -> None:
        self._targets = targets
        self._timeout = timeout
        limits = httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEEPALIVE,
        )
        self._transport = httpx.AsyncHTTPTransport(verify=tls, limits=limits, trust_env=False)

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Call once. Never raises what goes wrong on the way."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(self._targets.check(url), headers, body)
        except TimeoutError:
            return Answer(None, f"it did not answer within {self._timeout:g} s")
        except TargetRefused as error:
            return Answer(None, f"the URL {error}")
        except (OSError, httpx.HTTPError) as error:
            return Answer(None, _words(error))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _post(self, url: httpx.URL, headers: Mapping[str, str], body: bytes) -> Answer:
        addresses = (await self._targets.addresses(url))[:ADDRESSES_TRIED]
        *others, last = addresses
        # A host with several addresses need not be reachable by all of them.
        connect = self._timeout / (len(others) + 1)
        for address in others:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._call(url, address, headers, body, connect=connect)
        return await self._call(url, last, headers, body, connect=connect)

    async def _call(
        self,
        url: httpx.URL,
        address: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        connect: float,
    ) -> Answer:
        """To this address, and to no other that the name may have by now."""
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),
            headers={**headers, "Host": url.netloc.decode("ascii")},
            content=body,
            # The certificate is checked against the name, as if it had been connected to.
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": {"connect": connect},
            },
        )
        response = await self._transport.handle_async_request(request)
        try:
            await _read_some(response)
        finally:
            await response.aclose()
        return _judged(response, datetime.now(UTC))


async def _read_some(response: httpx.Response) -> None:
    size = 0
    async for chunk in response.aiter_raw():
        size += len(chunk)
        if size > MOST_READ:
            return


def _judged(response: httpx.Response, now: datetime) -> Answer:
    status = response.status_code
    if response.is_success:
        return Answer(status, None)
    error = f"it answered {status}"
    if response.is_redirect:
        error += ", and redirects are not followed"
    asked = response.headers.get("retry-after") if status in _MAY_ASK_FOR_TIME else None
    return Answer(status, error, retry_after(asked, now))


_MAY_ASK_FOR_TIME = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


def retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds from now, of a number or a date; None for neither."""
    if text is None:
        return None
    for read in (_seconds, _date):
        try:
            return max(0.0, read(text.strip(), now))
        except (ValueError, OverflowError):
            continue
    return None


def _seconds(text: str, _now: datetime) -> float:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return float(text[:12])


def _date(text: str, now: datetime) -> float:
    date = parsedate_to_datetime(text)
    return (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()


def _words(error: Exception) -> str:
    if isinstance(error, httpx.ConnectError) and "SSL" in str(error):
        return "no secure connection could be made: is its certificate valid?"
    return next((words for kind, words in _WORDS if isinstance(error, kind)), "the call broke off")


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectError, "it could not be reached"),
    (httpx.ConnectTimeout, "it could not be reached in time"),
    (OSError, "its name could not be resolved"),
)
