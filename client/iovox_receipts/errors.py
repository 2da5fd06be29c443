"""What can go wrong when an app talks to the service, in one tree.

ClientError
├── Unreachable        no answer within the patience, retries included
├── NotUnderstood      an answer that the service does not give: is the URL right?
├── NotFinalYet        wait_final's time is over; `message` is the last that was seen
├── BadSignature       a webhook that did not come from the service
└── Problem            the service said no, in problem details (RFC 9457)
    ├── Invalid            400, 413, 422   `errors` names every field
    │   └── Rejected       422             iovox refused the text; `message_id` is its record
    ├── NotAuthenticated   401             no key, or not one that is known
    ├── NotAllowed         403             the key has not this scope
    ├── NotFound           404             no such thing, or another app's
    ├── Conflict           409             the state does not allow it
    ├── Gone               410             events that are no longer kept; `next` goes on
    └── TryLater           429, 5xx        retries within the patience did not help
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from iovox_receipts.models import Message


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field at fault, and what to do about it."""

    field: str
    message: str


class ClientError(Exception):
    """Anything that the client raises on purpose."""

    is_callers_fault = False
    """Whether the same call would fail again until its caller changes something."""
    idempotency_key: str | None = None
    """Of a send that failed: sent again with this key, the text is still sent only once."""


class Unreachable(ClientError):
    """The service gave no answer in time. A send may have arrived all the same: repeat it with the
    ``idempotency_key`` of this error.
    """


class NotUnderstood(ClientError):
    """The answer is not the service's: a proxy, or another address altogether."""


class NotFinalYet(ClientError, TimeoutError):
    """The message had no final status when the time was over."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"Message {message.id} is still {message.status}")
        self.message = message


class BadSignature(ClientError):
    """Not signed by the service, too old, or altered on the way: do not trust its body."""


class Problem(ClientError):
    """The service's own words. ``code`` is stable; ``members`` is the whole of the details.

    Without a ``code`` they are not the service's: a proxy answered, or another address altogether.
    """

    def __init__(self, status: int, members: Mapping[str, Any]) -> None:
        self.status = status
        self.members = dict(members)
        self.code = str(members.get("type", "")).rpartition(":")[2]
        self.title = str(members.get("title", ""))
        self.detail = str(members.get("detail", ""))
        self.errors = _field_errors(members.get("errors"))
        super().__init__(self._words())

    def _words(self) -> str:
        head = self.detail or self.title or f"The service answered {self.status}"
        faults = [f"{fault.field}: {fault.message}" for fault in self.errors]
        faults = [fault for fault in faults if fault.partition(": ")[2] not in head]
        return "; ".join([head.rstrip("."), *faults])


class Invalid(Problem):
    """Something in the request is at fault; nothing was sent."""

    is_callers_fault = True


class Rejected(Invalid):
    """iovox refused the text, in its own words; the attempt is on record as ``message_id``."""

    def _words(self) -> str:
        return f"{super()._words()}; on record as {self.message_id}"

    @property
    def message_id(self) -> str:
        """The record of the refused message."""
        return str(self.members["id"])


class NotAuthenticated(Problem):
    """The API key is missing, unknown or revoked."""

    is_callers_fault = True


class NotAllowed(Problem):
    """The API key has not the scope that this needs."""

    is_callers_fault = True


class NotFound(Problem):
    """There is no such thing, or it is another app's."""


class Conflict(Problem):
    """The thing is not in a state that allows this."""


class Gone(Problem):
    """Events after this cursor are no longer kept. ``next`` is the cursor to go on with."""

    @property
    def next(self) -> str | None:
        """Hand it in as ``after``; what was between is lost to the feed, and can be looked up."""
        found = self.members.get("next")
        return found if isinstance(found, str) else None


class TryLater(Problem):
    """The service cannot do it now; retries within the client's patience did not help."""


_CLASSES: dict[int, type[Problem]] = {
    400: Invalid,
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    405: Invalid,
    409: Conflict,
    410: Gone,
    413: Invalid,
    422: Invalid,
}


def problem(status: int, members: Mapping[str, Any]) -> Problem:
    """The error for an answer that is none of 2xx and 3xx."""
    if status == 422 and isinstance(members.get("id"), str):
        return Rejected(status, members)
    return _CLASSES.get(status, TryLater)(status, members)


def _field_errors(found: object) -> tuple[FieldError, ...]:
    if not isinstance(found, list):
        return ()
    return tuple(
        FieldError(str(one.get("field", "")), str(one.get("message", "")))
        for one in found
        if isinstance(one, dict)
    )
