"""Every error this service raises on purpose, in one tree; one handler renders them.

    ServiceError
    ├── BadRequest            400   the bytes are not what the route reads
    ├── NotAuthenticated      401   no key, or not one of ours
    ├── NotAllowed            403   a key, but not this scope
    ├── NotFound              404   no such thing, or not yours
    ├── Conflict              409   the thing is not in a state that allows this
    ├── RequestTimeout        408   the request's body did not arrive in time
    ├── BodyTooLarge          413   more bytes than the route takes
    ├── Invalid               422   understood, but some fields are at fault; all are named
    ├── TooManyRequests       429   this key's rate is used up; says when to come back
    ├── Unavailable           503   nothing durable could take it: try again
    └── SubmissionError             what iovox, or the way to it, made of one send
        ├── Refused                 iovox understood it and said no: final
        ├── NotSent                 it surely never became a text: may be tried again
        └── OutcomeUnknown          iovox may have it: never sent again by us
    ConfigurationError              a setting is missing or wrong: the start stops

Problem details follow RFC 9457. An exception's text may be shown to a caller, so it never carries
a secret, a message text or another app's data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing at fault: the field as the caller wrote it, and what to do about it."""

    field: str
    message: str


class ServiceError(Exception):
    """A failure with a name. ``code`` is stable and may be matched on; ``title`` is for people."""

    code = "internal-error"
    status = 500
    title = "Something failed on our side"

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body. ``type`` is a URN: stable, and promises no page to visit."""
        body: dict[str, object] = {
            "type": f"urn:iovox-receipts:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": e.field, "message": e.message} for e in self.errors]
        return body


class BadRequest(ServiceError):
    """The bytes are not what the route reads."""

    code, status, title = "bad-request", 400, "The request cannot be read"


class NotAuthenticated(ServiceError):
    """No credentials, or none that we know."""

    code, status, title = "not-authenticated", 401, "Credentials are missing or wrong"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class NotAllowed(ServiceError):
    """The key is good, its scopes are not enough."""

    code, status, title = "not-allowed", 403, "This key may not do that"


class NotFound(ServiceError):
    """No such thing, or one that belongs to another app: the caller is not told which."""

    code, status, title = "not-found", 404, "There is nothing here"


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    code, status, title = "method-not-allowed", 405, "This method is not offered here"


class RequestTimeout(ServiceError):
    """The rest of the body did not come in time."""

    code, status, title = "request-timeout", 408, "The request did not arrive in time"


class Conflict(ServiceError):
    """The thing is not in a state that allows what was asked."""

    code, status, title = "conflict", 409, "The state does not allow this"


class BodyTooLarge(ServiceError):
    """More bytes than the route takes."""

    code, status, title = "body-too-large", 413, "The body is too large"


class Invalid(ServiceError):
    """Understood, but at fault; ``errors`` names every field."""

    code, status, title = "invalid", 422, "Some fields are at fault"


class TooManyRequests(ServiceError):
    """The caller's rate is used up; ``retry_after`` is in whole seconds."""

    code, status, title = "too-many-requests", 429, "Too many requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(ServiceError):
    """Nothing durable could take it. A retry helps, and nothing was kept."""

    code, status, title = "unavailable", 503, "Try again shortly"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class SubmissionError(ServiceError):
    """A send that brought no id. ``reasons`` keeps iovox's own words, or says what failed."""

    code, status, title = "submission-failed", 502, "The message could not be submitted"

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Refused(SubmissionError):
    """iovox said no, in its own XML. Final: the same request would be refused again."""

    code, status, title = "refused-by-iovox", 422, "iovox refused the message"


class NotSent(SubmissionError):
    """It surely never became a text, so trying again is safe.

    ``retry_after`` is iovox's wish in seconds, or None. ``credentials`` is true where iovox said
    401 or 403: our keys are at fault, not the message. ``reached`` is false where no connection
    was made at all; ``busy`` is true where that is because ours were all in use, which says
    nothing about iovox.
    """

    code = "not-sent"

    def __init__(
        self,
        *reasons: str,
        retry_after: float | None = None,
        credentials: bool = False,
        reached: bool = True,
        busy: bool = False,
    ) -> None:
        super().__init__(*reasons)
        self.retry_after = retry_after
        self.credentials = credentials
        self.reached = reached
        self.busy = busy


class OutcomeUnknown(SubmissionError):
    """The request may have been taken. Sending again could text a customer twice."""

    code = "outcome-unknown"


class ConfigurationError(ServiceError):
    """A setting is missing or wrong; ``detail`` names every variable at fault and how to set it."""

    code = "configuration"


class StoreUnavailable(ServiceError):
    """The database cannot be reached, or did not answer: nothing is known of the write.

    ``detail`` is for the log: it may name hosts. A caller is told no more than the title.
    """

    code, status, title = "store-unavailable", 503, "The database cannot be reached"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body, without the driver's words."""
        return super().problem() | {"detail": "Nothing was done; try again shortly"}


class StoreRefused(ServiceError):
    """The database read the data and will not have it: trying the same again will not help."""

    code = "store-refused"


class SchemaBehind(ServiceError):
    """The database's schema is not the one this version needs; ``dlr migrate`` makes it so."""

    code = "schema-behind"


def problem_body(error: ServiceError, **members: str) -> bytes:
    """The problem as JSON bytes, whatever text it quotes (lone surrogates are escaped)."""
    return json.dumps(error.problem() | members).encode()
