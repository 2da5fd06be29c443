"""One HTTP call, made again where that is safe and may help."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.client.errors import ClientError, NotUnderstood, Unreachable, problem

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
"""Seconds between tries: doubled each time, with jitter so that many callers are out of step."""
CONNECT_TIMEOUT = 5.0

# The connection was not made, so nothing was asked: always safe to try again.
_NEVER_CONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NOTHING_DONE = (429, 503)
_PROXY_GAVE_UP = (502, 504)


Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Call:
    """What to ask. ``repeatable``: asked twice, it is done once."""

    method: str
    path: str
    body: Any = None
    params: Params | None = None
    headers: Mapping[str, str] | None = None
    repeatable: bool = True
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """``pause``: seconds after which another try may help; None where it would not."""

    error: ClientError
    pause: float | None


class Caller:
    """Makes calls with one key. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float,
        patience: float,
        transport: httpx.BaseTransport | None,
        sleep: Callable[[float], None],
    ) -> None:
        """``timeout``: seconds for one answer; ``patience``: for all tries of a call together."""
        self._patience = patience
        self._sleep = sleep
        self._http = httpx.Client(
            base_url=_base_url(url),
            headers={
                "Authorization": f"Bearer {_usable(key)}",
                "Accept": "application/json",
                "User-Agent": "iovox-receipts-client",
            },
            timeout=httpx.Timeout(timeout, connect=CONNECT_TIMEOUT),
            transport=transport,
            trust_env=not _is_loopback(url),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ask(self, call: Call) -> httpx.Response:
        """The answer, which is a success. Raises Unreachable or a Problem."""
        patience = self._patience if call.patience is None else call.patience
        deadline = time.monotonic() + patience
        tries = 0
        while True:
            answer = self._try(call)
            if isinstance(answer, httpx.Response):
                return answer
            tries += 1
            pause = None if answer.pause is None else max(answer.pause, backoff(tries))
            if pause is None or time.monotonic() + pause > deadline:
                raise answer.error
            self._sleep(pause)

    @contextmanager
    def stream(self, call: Call, *, silence: float) -> Iterator[httpx.Response]:
        """An answer that goes on; ``silence``: seconds without a byte after which it is lost."""
        try:
            with self._http.stream(
                call.method,
                call.path,
                params=call.params,
                headers=call.headers,
                timeout=httpx.Timeout(silence, connect=CONNECT_TIMEOUT),
            ) as response:
                if not response.is_success:
                    response.read()
                    raise _problem(response)
                yield response
        except httpx.TransportError as error:
            raise Unreachable(_words(error, self._http.base_url)) from error

    def _try(self, call: Call) -> httpx.Response | _Failure:
        try:
            response = self._http.request(
                call.method, call.path, json=call.body, params=call.params, headers=call.headers
            )
        except httpx.TransportError as error:
            again = call.repeatable or isinstance(error, _NEVER_CONNECTED)
            words = _words(error, self._http.base_url)
            return _Failure(Unreachable(words), FIRST_PAUSE if again else None)
        if response.is_success or response.status_code == httpx.codes.NOT_MODIFIED:
            return response
        return _Failure(_problem(response), _pause(response, repeatable=call.repeatable))


@contextmanager
def understood(response: httpx.Response) -> Iterator[None]:
    """Whatever does not fit in here is an answer that the service does not give."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotUnderstood(
            f"{response.request.method} {response.request.url.path} was answered "
            f"{response.status_code} with something else than was expected; "
            "does the URL name the service?"
        ) from error


def backoff(tries: int) -> float:
    """Seconds before the next try."""
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
    if not isinstance(members, dict):
        members = {"title": f"The answer was {response.status_code} {response.reason_phrase}"}
    return problem(response.status_code, members)


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the service's URL must start with https:// (or http://)")
    return url.rstrip("/")


def _usable(key: str) -> str:
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("an API key is visible ASCII text without spaces")
    return key


def _is_loopback(url: str) -> bool:
    """A proxy of the environment is for the world outside; loopback through it leads nowhere."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _words(error: httpx.TransportError, url: httpx.URL) -> str:
    why = str(error) or type(error).__name__
    return f"No answer from {url.scheme}://{url.netloc.decode()}: {why}"
