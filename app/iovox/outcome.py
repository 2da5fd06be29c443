"""What became of one send, read off iovox's reply: its id, or the typed error that says why not.

The reply is untrusted: a proxy can stand where iovox should. So a message counts as refused or as
surely not sent only where the reply leaves no doubt; any doubt is ``OutcomeUnknown``, because a
customer who is texted twice is worse than one whose text we have to look after by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.errors import NotSent, OutcomeUnknown, Refused, SubmissionError
from app.iovox.xml import Answer, parse_answer

LONGEST_RETRY_AFTER = 3600.0
"""Seconds: a wish beyond it is a mistake, and would outlive most messages' expiry."""

_CREDENTIALS = frozenset({401, 403})
_LATER = frozenset({429, 503})
_REFUSALS = frozenset(range(400, 500)) - _CREDENTIALS - {429}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. With a ``flaw``, in words, the body is missing, or all of it (no status)."""

    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    flaw: str | None = None


def read_outcome(reply: Reply, *, retry_on_500: bool, redact: Callable[[str], str]) -> str:
    """The sms_activity_id that the reply gives, else Refused, NotSent or OutcomeUnknown."""
    if reply.status is None:
        raise OutcomeUnknown(f"the request went out to iovox, but {reply.flaw}")
    answer = Answer(readable=False) if reply.flaw else parse_answer(reply.body)
    if 200 <= reply.status < 300 and answer.sms_activity_id is not None:
        return answer.sms_activity_id
    raise _error(reply, reply.status, answer, retry_on_500=retry_on_500, redact=redact)


def _error(
    reply: Reply,
    status: int,
    answer: Answer,
    *,
    retry_on_500: bool,
    redact: Callable[[str], str],
) -> SubmissionError:
    words = tuple(redact(e.text) or "iovox gave no reason" for e in answer.errors)
    reason = _reason(status, words, reply.flaw)
    said = {e.status or status for e in answer.errors}
    if status in _CREDENTIALS or (said and said <= _CREDENTIALS):
        return NotSent(reason, credentials=True)
    if status in _LATER:
        return NotSent(reason, retry_after=parse_retry_after(reply.retry_after))
    if answer.sms_activity_id is not None or not words:
        return OutcomeUnknown(reason)
    if status == 400 or said <= _REFUSALS:
        return Refused(*words)
    if status == 500 and retry_on_500:
        return NotSent(reason)
    return OutcomeUnknown(reason)


def _reason(status: int, words: tuple[str, ...], flaw: str | None) -> str:
    """A sentence with the status, and iovox's own words where it said any."""
    if words:
        return f"iovox answered HTTP {status}: {'; '.join(words)}"
    if flaw:
        return f"iovox answered HTTP {status}, but {flaw}"
    if 200 <= status < 300:
        return f"iovox answered HTTP {status} without an id that can be read"
    return f"iovox answered HTTP {status}"


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait by a Retry-After header, within bounds; None where it says nothing clear."""
    text = (value or "").strip()
    if re.fullmatch("[0-9]+", text):
        # Nine digits are past the bound already; thousands would be more than int() reads.
        return min(float(text[:9]) if len(text) <= 9 else LONGEST_RETRY_AFTER, LONGEST_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000" claims no zone; HTTP's dates are always GMT
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
