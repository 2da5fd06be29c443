"""The outcome of a send from iovox's HTTP response: an id, or a typed error. Untrusted input.

A proxy can respond in iovox's place. So a message counts as refused or not sent only if the
response is unambiguous; everything else is ``OutcomeUnknown``, because a second text to a customer
is worse than a message to be checked by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from app.errors import NotSent, OutcomeUnknown, Refused, SubmissionError
from app.iovox.xml import ParsedResponse, parse_response
from app.parts.retry_after import retry_after

MAX_RETRY_AFTER = 3600.0
"""Seconds; a larger value is capped, since it would exceed the expiry of most messages."""

_CREDENTIALS = frozenset({401, 403})
_RETRY_LATER = frozenset({429, 503})
_REFUSALS = frozenset(range(400, 500)) - _CREDENTIALS - {429}


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response. With a ``failure`` (in words) the body is missing, without a status all of it."""

    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    failure: str | None = None


def read_outcome(
    response: HttpResponse, *, retry_on_500: bool, redact: Callable[[str], str]
) -> str:
    """The sms_activity_id in the response. Raises Refused, NotSent or OutcomeUnknown.

    ``redact`` removes secrets from iovox's texts.
    """
    if response.status is None:
        raise OutcomeUnknown(f"the request went out to iovox, but {response.failure}")
    parsed = ParsedResponse(readable=False) if response.failure else parse_response(response.body)
    if 200 <= response.status < 300 and parsed.sms_activity_id is not None:
        return parsed.sms_activity_id
    raise _error(response, response.status, parsed, retry_on_500=retry_on_500, redact=redact)


def _error(
    response: HttpResponse,
    status: int,
    parsed: ParsedResponse,
    *,
    retry_on_500: bool,
    redact: Callable[[str], str],
) -> SubmissionError:
    texts = tuple(redact(e.text) or "iovox gave no reason" for e in parsed.errors)
    reason = _reason(status, texts, response.failure)
    statuses = {e.status or status for e in parsed.errors}
    if parsed.sms_activity_id is not None:  # whatever else it says, there is a message
        return OutcomeUnknown(reason)
    if status in _CREDENTIALS or (statuses and statuses <= _CREDENTIALS):
        return NotSent(reason, credentials=True)
    if status in _RETRY_LATER:
        return NotSent(reason, retry_after=_retry_after(response.retry_after))
    if not texts:
        return OutcomeUnknown(reason)
    if status == 400 or statuses <= _REFUSALS:
        return Refused(*texts)
    if status == 500 and retry_on_500:
        return NotSent(reason)
    return OutcomeUnknown(reason)


def _reason(status: int, texts: tuple[str, ...], failure: str | None) -> str:
    """A sentence with the status and iovox's error texts, if any."""
    if texts:
        return f"iovox answered HTTP {status}: {'; '.join(texts)}"
    if failure:
        return f"iovox answered HTTP {status}, but {failure}"
    if 200 <= status < 300:
        return f"iovox answered HTTP {status} without an id that can be read"
    return f"iovox answered HTTP {status}"


def _retry_after(value: str | None) -> float | None:
    """The seconds of a Retry-After header, capped; None if it is missing or invalid."""
    seconds = retry_after(value, datetime.now(UTC))
    return None if seconds is None else min(seconds, MAX_RETRY_AFTER)
