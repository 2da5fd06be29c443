"""The tree of errors that the service raises; one handler renders them as problem details.

    ServiceError
    ├── BadRequest            400   the body cannot be parsed
    ├── NotAuthenticated      401   no valid API key
    ├── NotAllowed            403   a valid key without the required scope
    ├── NotFound              404   no such resource, or another app's
    ├── MethodNotAllowed      405   no such method at this path
    ├── RequestTimeout        408   the body did not arrive in time
    ├── Conflict              409   the state of the resource does not allow this
    ├── Gone                  410   a cursor's place is gone; ``next`` is where to go on
    ├── BodyTooLarge          413   the body exceeds the route's limit
    ├── UnsupportedMediaType  415   the body has a Content-Encoding
    ├── Invalid               422   parsed, but fields are invalid; up to MAX_FAULTS are named
    ├── TooManyRequests       429   the key's rate limit is exceeded; has Retry-After
    ├── Unavailable           503   nothing was stored; a retry helps
    │   ├── SpoolUnavailable  503   the spool cannot be read or written
    │   └── KeysWait          503   what the database has forgotten is being brought back
    ├── SubmissionError             a send without an id from iovox
    │   ├── Refused           422   refused by iovox, in its own words: final
    │   ├── NotSent                 surely not sent: may be retried
    │   └── OutcomeUnknown          perhaps accepted by iovox: never retried by us
    ├── ConfigurationError          a setting is missing or invalid: the process does not start
    ├── StoreUnavailable      503   the database cannot be reached, or did not respond
    │   ├── StoreUnsuitable         it is reached, but a setting has to change before it is used
    │   └── SchemaUnusable    503   its schema is one that this release cannot work with
    ├── StoreRefused                the database rejected the data: a retry does not help
    └── SchemaBehind                the schema has to be migrated

Problem details follow RFC 9457. An exception's text may be returned to a client, so it never
contains a secret, a message text or another app's data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

MAX_FAULTS = 20
"""Faults that a problem names; it says how many more there are."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One invalid field: its name in the request, and what is wrong with it."""

    field: str
    message: str


class ServiceError(Exception):
    """The root of the tree. ``code`` is stable and may be matched on; ``title`` is for people."""

    code = "internal-error"
    status = 500
    title = "Something failed on our side"

    def __init__(
        self,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        errors_left_out: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """``errors_left_out``: faults beyond ``errors``; of those, MAX_FAULTS are kept."""
        super().__init__(detail)
        self.detail = detail
        self.errors = errors[:MAX_FAULTS]
        self.errors_left_out = errors_left_out + len(errors) - len(self.errors)
        self.headers = dict(headers or {})

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body. ``type`` is a URN: a stable identifier, not the address of a page."""
        body: dict[str, object] = {
            "type": f"urn:iovox-receipts:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [{"field": e.field, "message": e.message} for e in self.errors]
        if self.errors_left_out:
            body["errors_left_out"] = self.errors_left_out
        return body


class BadRequest(ServiceError):
    """The body cannot be parsed."""

    code, status, title = "bad-request", 400, "The request cannot be read"


class NotAuthenticated(ServiceError):
    """No API key, or not a valid one."""

    code, status, title = "not-authenticated", 401, "Credentials are missing or wrong"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class NotAllowed(ServiceError):
    """The key is valid, but lacks the required scope."""

    code, status, title = "not-allowed", 403, "This key may not do that"


class NotFound(ServiceError):
    """No such resource, or another app's; the response does not distinguish them."""

    code, status, title = "not-found", 404, "There is nothing here"


class MethodNotAllowed(ServiceError):
    """The path exists, but not with this method."""

    code, status, title = "method-not-allowed", 405, "This method is not offered here"


class RequestTimeout(ServiceError):
    """The body did not arrive in time."""

    code, status, title = "request-timeout", 408, "The request did not arrive in time"


class Conflict(ServiceError):
    """The state of the resource does not allow the request."""

    code, status, title = "conflict", 409, "The state does not allow this"


class Gone(ServiceError):
    """A cursor whose place no longer exists; ``go_on`` is the cursor to go on with."""

    code, status, title = "gone", 410, "This place is gone"

    def __init__(self, detail: str, *, go_on: str) -> None:
        super().__init__(detail)
        self.go_on = go_on

    def problem(self) -> dict[str, object]:
        """With the cursor to go on with, as ``next``."""
        return {**super().problem(), "next": self.go_on}


class BodyTooLarge(ServiceError):
    """The body exceeds the route's limit."""

    code, status, title = "body-too-large", 413, "The body is too large"


class UnsupportedMediaType(ServiceError):
    """The body has a Content-Encoding."""

    code, status, title = "unsupported-media-type", 415, "The body is in a form that is not read"


class Invalid(ServiceError):
    """The body was parsed, but fields are invalid; ``errors`` names them, up to MAX_FAULTS."""

    code, status, title = "invalid", 422, "Some fields are at fault"


class TooManyRequests(ServiceError):
    """The key's rate limit is exceeded; ``retry_after`` is in whole seconds."""

    code, status, title = "too-many-requests", 429, "Too many requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class Unavailable(ServiceError):
    """Nothing was stored, and a retry helps; ``retry_after`` is in whole seconds."""

    code, status, title = "unavailable", 503, "Try again shortly"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after)})


class KeysWait(Unavailable):
    """The database has forgotten something, and not everything is brought back yet: it is unknown
    whether the idempotency key was used, or the message that is to be cancelled was sent.
    """

    def __init__(self) -> None:
        super().__init__(
            "The database was restored or failed over. What was acknowledged before is being "
            "brought back; until then it is unknown whether this request was carried out before",
            retry_after=2,
        )


class SpoolUnavailable(Unavailable):
    """The spool cannot be read or written.

    ``detail`` is for the log, as it may name paths; ``problem`` leaves it out.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The spool cannot be used: {reason}")

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body, without the reason."""
        return super().problem() | {"detail": "Nothing was stored; try again shortly"}


class SubmissionError(ServiceError):
    """A send without an id from iovox. ``reasons`` are iovox's error texts, or what failed."""

    code, status, title = "submission-failed", 502, "The message could not be submitted"

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


class Refused(SubmissionError):
    """iovox refused the message, in its own XML. Final: a retry would be refused, too."""

    code, status, title = "refused-by-iovox", 422, "iovox refused the message"


class NotSent(SubmissionError):
    """The message was surely not sent, so a retry is safe.

    ``retry_after`` is from iovox's Retry-After, in seconds, or None. ``credentials``: iovox
    responded 401 or 403, so our keys are invalid, not the message. ``reached`` is False if no
    connection was made; ``busy``: because all connections of our pool were in use, which says
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
    """iovox may have accepted the request. A retry could send a customer a second text."""

    code = "outcome-unknown"


class ConfigurationError(ServiceError):
    """A setting is missing or invalid; ``detail`` names each variable and how to set it."""

    code = "configuration"


class StoreUnavailable(ServiceError):
    """The database cannot be reached or did not respond; a write may have taken effect.

    ``detail`` is for the log, as it may name hosts; ``problem`` leaves it out.
    """

    code, status, title = "store-unavailable", 503, "The database cannot be reached"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "1"})

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body, without the driver's text."""
        return super().problem() | {"detail": "Nothing was done; try again shortly"}


class StoreUnsuitable(StoreUnavailable):
    """The database is there, but a setting has to change before it can be used; ``detail`` names
    the setting. The service does not start; one that runs already handles it like an outage.
    """


class SchemaUnusable(StoreUnavailable):
    """The schema is newer and breaking, or of another line: nothing was read or written.

    ``detail`` names revisions, and why; it may be shown to anyone.
    """

    code, title = "schema-unusable", "The database is of a version that this one cannot use"

    def problem(self) -> dict[str, object]:
        """The RFC 9457 body, with the reason."""
        return super().problem() | {"detail": f"Nothing was done. {self.detail}"}


class StoreRefused(ServiceError):
    """The database rejected the data: a retry does not help."""

    code = "store-refused"


class SchemaBehind(ServiceError):
    """The schema is older than this version requires; ``dlr migrate`` updates it."""

    code = "schema-behind"


def problem_body(error: ServiceError, **members: str) -> bytes:
    """The problem as JSON. Lone surrogates in quoted text are escaped."""
    return json.dumps(error.problem() | members).encode()
