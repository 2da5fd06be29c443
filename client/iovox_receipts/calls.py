"""One HTTP call, with retries where they are safe and may help, and a deadline."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any

import httpx

from iovox_receipts.errors import ClientError, NotUnderstood, Unreachable, problem
from iovox_receipts.filters import Params

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between tries: doubled each time, with jitter so that many callers are out of step."""
CONNECT_TIMEOUT = 5.0

PROBLEMS = "urn:iovox-receipts:problem:"
"""The prefix of the service's problem types. A problem with another one is not the service's."""

Sleep = Callable[[float], Awaitable[None]]

# The connection was not made, so nothing was sent: always safe to retry.
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout)
_NOTHING_DONE = (429, 503)
_PROXY_GAVE_UP = (502, 504)


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``repeatable``: it is idempotent, so it may be retried after any failure."""

    method: str
    path: str
    body: Any = None
    params: Params | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class _Failure:
    """``pause``: seconds after which a retry may help; None where it would not, or is not safe.
    ``connected``: whether there was a connection, so that the request may have been sent.
    """

    error: ClientError
    pause: float | None
    connected: bool = True


class Caller:
    """Makes calls with one key, from one event loop.

    A deadline is a moment of ``time.monotonic()``. It bounds a call as a whole: name resolution,
    connecting, waiting for the answer and reading it, and the pauses before retries. httpx itself
    bounds only each read, so a server that sends byte by byte could hold a call for ever.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: float,
        connect_timeout: float | None,
        transport: httpx.AsyncBaseTransport | None,
        sleep: Sleep,
    ) -> None:
        """``patience``: seconds for a whole call. ``connect_timeout``: seconds without a connection
        after which a call is not retried; ``patience`` if left out.
        """
        self.patience = _seconds("patience", patience)
        self.connect_timeout = _seconds(
            "connect_timeout", patience if connect_timeout is None else connect_timeout
        )
        self.sleep = sleep
        base_url = _base_url(url)
        self._http = httpx.AsyncClient(
            base_url=base_url,
            headers={
                "Authorization": f"Bearer {_checked_key(key)}",
                "Accept": "application/json",
                "User-Agent": "iovox-receipts-client",
            },
            timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT),
            transport=transport,
            trust_env=not _is_loopback(base_url.host),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def deadline(self, patience: float | None = None) -> float:
        """The moment at which a call that begins now has to end."""
        seconds = self.patience if patience is None else _seconds("patience", patience)
        return time.monotonic() + seconds

    async def ask(self, call: Call, *, deadline: float | None = None) -> httpx.Response:
        """The answer to a call, if it is a success (2xx, or 304); it is retried until the deadline.

        Raises Unreachable, NotUnderstood or a Problem.
        """
        deadline = self.deadline() if deadline is None else deadline
        last_contact = time.monotonic()
        tries = 0
        while True:
            answer = await self._try(call, deadline - time.monotonic())
            if isinstance(answer, httpx.Response):
                return answer
            tries += 1
            pause = None if answer.pause is None else max(answer.pause, backoff(tries))
            now, end = time.monotonic(), deadline
            if answer.connected:
                last_contact = now
            else:
                end = min(deadline, last_contact + self.connect_timeout)
            if pause is None or now + pause >= end:
                raise answer.error
            await self.sleep(pause)

    async def open(self, call: Call, *, deadline: float, silence: float) -> httpx.Response:
        """A streamed answer, once its head has arrived; the caller closes it. Not retried.

        ``silence``: seconds without a byte after which the connection counts as lost.
        """
        request = self._http.build_request(
            call.method,
            call.path,
            params=call.params,
            headers=call.headers,
            timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
        )
        with self.reaching():
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    response = await self._http.send(request, stream=True)
                    if response.is_success:
                        return response
                    await response.aread()
            except TimeoutError as error:
                raise self._unreachable("the stream did not begin in time") from error
        raise _problem(response)

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Convert httpx's errors: of a lost connection to Unreachable, of an answer that cannot be
        decoded to NotUnderstood.
        """
        try:
            yield
        except httpx.TransportError as error:
            raise self._unreachable(_words(error)) from error
        except httpx.DecodingError as error:
            raise NotUnderstood(f"The answer could not be decoded: {error}") from error

    async def _try(self, call: Call, left: float) -> httpx.Response | _Failure:
        left = max(0.0, left)
        try:
            async with asyncio.timeout(left):
                response = await self._http.request(
                    call.method, call.path, json=call.body, params=call.params, headers=call.headers
                )
        except TimeoutError:
            return _Failure(self._unreachable(f"it was not complete after {left:.3g} s"), None)
        except _NEVER_CONNECTED as failed:
            return _Failure(self._unreachable(_words(failed)), FIRST_PAUSE, connected=False)
        except httpx.TransportError as failed:
            pause = FIRST_PAUSE if call.repeatable else None
            return _Failure(self._unreachable(_words(failed)), pause)
        except httpx.DecodingError as failed:
            return _Failure(NotUnderstood(f"The answer could not be decoded: {failed}"), None)
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        return _Failure(_problem(response), _pause(response, repeatable=call.repeatable))

    def _unreachable(self, why: str) -> Unreachable:
        url = self._http.base_url
        return Unreachable(f"No answer from {url.scheme}://{url.netloc.decode()}: {why}")


@contextmanager
def understood(response: httpx.Response) -> Iterator[None]:
    """Convert errors of reading an answer's content to NotUnderstood."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise not_understood(response) from error


def not_understood(response: httpx.Response) -> NotUnderstood:
    """The error for an answer that is a success and yet not the service's."""
    return NotUnderstood(
        f"{response.request.method} {response.request.url.path} was answered "
        f"{response.status_code} with something else than was expected; "
        "does the URL name the service?"
    )


def backoff(tries: int) -> float:
    """Seconds before the next try, after so many."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  jitter is no secret


def _pause(response: httpx.Response, *, repeatable: bool) -> float | None:
    status, wished = response.status_code, _retry_after(response)
    if status in _NOTHING_DONE or (repeatable and status in _PROXY_GAVE_UP):
        return wished or FIRST_PAUSE
    if not repeatable:
        return None
    # Only 'the first request with this key is still being answered' says when to come back.
    return wished if status == httpx.codes.CONFLICT else None


def _retry_after(response: httpx.Response) -> float | None:
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _problem(response: httpx.Response) -> ClientError:
    try:
        members = json.loads(response.content)
    except ValueError:
        members = None
    if not (isinstance(members, dict) and str(members.get("type", "")).startswith(PROBLEMS)):
        url = response.request.url
        members = {
            "title": f"{url.scheme}://{url.netloc.decode()} answered {response.status_code} "
            f"{response.reason_phrase}, but not as the service does; is that its URL?"
        }
    return problem(response.status_code, members)


def _words(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def _seconds(name: str, value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} is a number of seconds greater than 0, not {value!r}")
    return value


def _base_url(url: str) -> httpx.URL:
    try:
        found = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        found = httpx.URL()
    if found.scheme not in ("http", "https") or not found.host:
        raise ValueError("the service's URL must start with https:// (or http://)")
    return found


def _checked_key(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("an API key is visible ASCII text without spaces")
    return key


def _is_loopback(host: str) -> bool:
    """Whether the host is loopback, which a proxy of the environment could not reach."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
