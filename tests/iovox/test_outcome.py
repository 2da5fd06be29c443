from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.errors import NotSent, OutcomeUnknown, Refused, SubmissionError
from app.iovox.outcome import HttpResponse, read_outcome
from tests.iovox.scripted import ACCEPTED, ACTIVITY_ID, errors
from tests.iovox.tables import labelled

DOCUMENTED = [
    "API Version Empty",
    "API Version Invalid",
    "Request Method must be POST. GET attempted",
    "XML Empty",
    "XML parse error. not well-formed at line 3, column 7",
    "Request Empty",
    "Origin Empty",
    "Origin Invalid: +44",
    "Destination Empty",
    "Destination Invalid: abc",
    "Message Empty",
    "Message must be less than 160 characters long",
]


def outcome(
    status: int | None,
    body: str = "",
    *,
    retry_on_500: bool = True,
    retry_after: str | None = None,
    failure: str | None = None,
) -> str | SubmissionError:
    response = HttpResponse(status, body.encode(), retry_after, failure)
    try:
        return read_outcome(response, retry_on_500=retry_on_500, redact=lambda text: text)
    except SubmissionError as error:
        return error


@pytest.mark.parametrize("text", DOCUMENTED)
def test_every_documented_400_is_refused_in_its_own_words(text: str) -> None:
    error = outcome(400, errors((400, text)))
    assert isinstance(error, Refused)
    assert error.reasons == (text,)


ONE = errors((400, "Origin Empty"))
KINDS: list[tuple[str, int, str, type[SubmissionError]]] = [
    ("several errors", 400, errors((400, "Origin Empty"), (400, "Message Empty")), Refused),
    ("no status attribute", 400, errors((None, "Origin Empty")), Refused),
    ("an error with no words", 400, errors((400, "")), Refused),
    ("a lone error node", 400, '<error status="400">Origin Empty</error>', Refused),
    ("XML 400 under HTTP 200", 200, ONE, Refused),
    ("XML 400 under HTTP 500", 500, ONE, Refused),
    ("XML 404", 404, errors((404, "Nothing")), Refused),
    ("bare 400", 400, "", OutcomeUnknown),
    ("HTML 400", 400, "<html>Bad Request</html>", OutcomeUnknown),
    ("HTML 404", 404, "<html>no</html>", OutcomeUnknown),
    ("400 with an id", 400, ACCEPTED, OutcomeUnknown),
    ("401 in words", 401, errors((401, "HTTP 401: Unauthorized")), NotSent),
    ("401 bare", 401, "", NotSent),
    ("403 HTML", 403, "<html>", NotSent),
    ("XML 401 under HTTP 400", 400, errors((401, "Unauthorized")), NotSent),
    ("429", 429, "", NotSent),
    ("401 with an id", 401, ACCEPTED, OutcomeUnknown),
    ("503 with an id", 503, ACCEPTED, OutcomeUnknown),
    ("503 HTML", 503, "<html>", NotSent),
    ("500 in words", 500, errors((500, "Internal Server Error")), NotSent),
    ("500 in words, no attribute", 500, errors((None, "Internal Server Error")), NotSent),
    ("500 bare", 500, "", OutcomeUnknown),
    ("500 HTML", 500, "<html>oops</html>", OutcomeUnknown),
    ("500 with an id", 500, ACCEPTED, OutcomeUnknown),
    ("XML 500 under HTTP 200", 200, errors((500, "Internal Server Error")), OutcomeUnknown),
    ("502 HTML", 502, "<html>", OutcomeUnknown),
    ("502 with an XML 500", 502, errors((500, "x")), OutcomeUnknown),
    ("504", 504, "", OutcomeUnknown),
    ("301", 301, "", OutcomeUnknown),
    ("307 with an id", 307, ACCEPTED, OutcomeUnknown),
    ("101", 101, "", OutcomeUnknown),
    ("201 empty", 201, "", OutcomeUnknown),
    ("201 HTML", 201, "<html>", OutcomeUnknown),
    ("201 without an id", 201, "<response/>", OutcomeUnknown),
    ("204", 204, "", OutcomeUnknown),
    ("999", 999, "", OutcomeUnknown),
]


@pytest.mark.parametrize(("status", "body", "kind"), labelled(KINDS))
def test_what_an_answer_without_an_id_means(
    status: int, body: str, kind: type[SubmissionError]
) -> None:
    error = outcome(status, body)
    assert type(error) is kind
    assert all(error.reasons)
    if kind is not Refused:
        assert f"HTTP {status}" in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_2xx_with_an_id_is_accepted(status: int) -> None:
    assert outcome(status, ACCEPTED) == ACTIVITY_ID


def test_a_500_in_words_is_unknown_where_so_configured() -> None:
    error = outcome(500, errors((500, "Internal Server Error")), retry_on_500=False)
    assert isinstance(error, OutcomeUnknown)
    assert "Internal Server Error" in str(error)


@pytest.mark.parametrize(("status", "credentials"), [(401, True), (403, True), (429, False)])
def test_credentials_are_told_apart(status: int, credentials: bool) -> None:
    error = outcome(status)
    assert isinstance(error, NotSent)
    assert error.credentials is credentials
    assert error.reached


FLAWED: list[tuple[int | None, type[SubmissionError]]] = [
    (None, OutcomeUnknown),
    (201, OutcomeUnknown),
    (400, OutcomeUnknown),
    (500, OutcomeUnknown),
    (401, NotSent),
    (503, NotSent),
]


@pytest.mark.parametrize(("status", "kind"), FLAWED)
def test_a_status_line_counts_even_where_the_body_was_lost(
    status: int | None, kind: type[SubmissionError]
) -> None:
    error = outcome(status, failure="its answer was cut")
    assert type(error) is kind
    assert "its answer was cut" in str(error)


RETRY_AFTER = [
    ("seconds", "120", 120),
    ("the bound", "3601", 3600),
    ("absurd", "9" * 6000, 3600),
    ("a date gone by", "Wed, 21 Oct 2015 07:28:00 GMT", 0),
    ("a far date", "Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ("words", "soon", None),
    ("absent", None, None),
]


@pytest.mark.parametrize(("value", "seconds"), labelled(RETRY_AFTER))
def test_retry_after(value: str | None, seconds: float | None) -> None:
    error = outcome(503, retry_after=value)
    assert isinstance(error, NotSent)
    assert error.retry_after == seconds


def test_retry_after_as_a_date() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    error = outcome(503, retry_after=at)
    assert isinstance(error, NotSent)
    assert error.retry_after == pytest.approx(60, abs=3)
