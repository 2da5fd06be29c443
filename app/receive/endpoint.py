"""``POST /dlr``. The caller is the open internet: nothing is trusted before the secret header.

A bare ASGI callable in front of the framework: at thousands of receipts a second, FastAPI's
dependencies would cost more than everything else (docs/performance.md).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from uuid import UUID

import structlog

from app.errors import (
    BadRequest,
    Invalid,
    MethodNotAllowed,
    NotAuthenticated,
    ServiceError,
    problem_body,
)
from app.iovox.callback import MESSAGE_ID_HEADER, CallbackHeaders
from app.model.receipt import Arrival, Receipt, Rejection
from app.parts.networks import Network, is_in
from app.receive.bodies import BodyReader, ClientDisconnected
from app.receive.inbox import Inbox
from app.receive.packed import UnpacksTooLargeError, unpack
from app.receive.probe import probe_answer
from app.receive.recorder import Call
from app.receive.tally import Tally, answered_headers, request_id_of
from app.server.requests import CompleteRequest, Headers, Receive, Scope, Send
from app.store.clock import Now, utc_now
from app.store.ids import id_of, new_id
from app.web.addresses import Callers

PATH = "/dlr"
PATHS = (PATH, f"{PATH}/")
"""Some write a slash behind every path; a receipt that is refused for it is lost."""
LARGEST_BODY = 64 * 1024
WARN_EVERY = 10.0
"""Seconds between log lines about refused calls: a flood of calls must not fill the disk."""

_STORED_HEADERS = [(b"content-length", b"0")]
_EMPTY = {"type": "http.response.body", "body": b""}

log = structlog.get_logger(__name__)


class DlrEndpoint:
    """Authenticates, reads, hands over to the inbox; responds 200 only once the call is durable."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        headers: CallbackHeaders,
        tally: Tally,
        body_patience: float,
        now: Now = utc_now,
        callers: Callers | None = None,
        allowed: Sequence[Network] = (),
    ) -> None:
        """``body_patience``: seconds for a body to arrive. ``allowed``: who may call; () is all."""
        self._inbox = inbox
        self._now = now
        self._bodies = BodyReader(largest=LARGEST_BODY, patience=body_patience)
        self._headers = headers
        self._tally = tally
        self._callers = callers or Callers()
        self._allowed = allowed
        self._refused_since_warning = 0
        self._warned_at = 0.0

    def use_headers(self, headers: CallbackHeaders) -> None:
        """Authenticate by these from now on."""
        self._headers = headers

    def is_authentic(self, headers: Headers, client: tuple[str, int] | None) -> bool:
        """Whether a call carries the secret, and comes from where it may."""
        return self._headers.verify(headers) and self._may_call(headers, client)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to one call, as an ASGI application."""
        began = time.monotonic()
        try:
            receipt = await self._take(scope, receive)
        except _ProbedError as probe:
            await _answer(send, 200, [(b"content-type", b"application/json")], probe.answer)
        except ClientDisconnected:
            return
        except ServiceError as error:
            self._tally.refused(error, scope["method"])
            await _answer_problem(send, error)
        else:
            request_id = request_id_of(scope["headers"])
            self._tally.taken(receipt, began, request_id, scope["headers"])
            headers = [*_STORED_HEADERS, *answered_headers(request_id)]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send(_EMPTY)

    def answer_complete(self, request: CompleteRequest) -> None:
        """Respond to a POST that has arrived completely, as most do, without a task."""
        try:
            self._authenticate(request.headers, request.client)
            if len(request.body) > LARGEST_BODY:
                raise self._bodies.too_large()
            if not request.body and (answer := self._probe(request.headers)):
                request.respond(200, [(b"content-type", b"application/json")], answer)
                return
            waiter = _ResponseWaiter(request, self._tally)
            waiter.call = self._inbox.submit(self._arrival(request.headers, request.body), waiter)
        except NotAuthenticated as error:
            self._tally.refused(error)
            request.refuse(error.status, *_problem(error))
        except ServiceError as error:
            self._tally.refused(error)
            request.respond(error.status, *_problem(error))

    async def _take(self, scope: Scope, receive: Receive) -> Receipt:
        headers: Headers = scope["headers"]
        self._authenticate(headers, scope.get("client"))
        if scope["method"] != "POST":
            raise MethodNotAllowed("Receipts are POSTed", headers={"Allow": "POST"})
        if _declared_size(headers) > LARGEST_BODY:
            raise self._bodies.too_large()  # before 100 Continue is sent
        body = await self._bodies.read(receive)
        if not body and (answer := self._probe(headers)):
            raise _ProbedError(answer)
        call = await self._inbox.accept(self._arrival(headers, body))
        if not isinstance(call, Receipt):
            raise _refusal(call)
        return call

    def _arrival(self, headers: Headers, body: bytes) -> Arrival:
        """The call as it is kept: unpacked if it came packed. Raises BodyTooLarge."""
        message_id = None
        for name, value in headers:
            if name == MESSAGE_ID_HEADER:
                message_id = _message_id(value)
            elif name == b"content-encoding":
                try:
                    body = unpack(body, value, largest=LARGEST_BODY)
                except UnpacksTooLargeError:
                    raise self._bodies.too_large() from None
        return Arrival(new_id(), self._now(), body, message_id)

    def _probe(self, headers: Headers) -> bytes | None:
        return probe_answer(headers, self._headers.auth_header)

    def _authenticate(self, headers: Headers, client: tuple[str, int] | None) -> None:
        if not self.is_authentic(headers, client):
            self._warn_of_refused(headers, client)
            raise NotAuthenticated("The call does not carry the secret header of our callbacks")

    def _may_call(self, headers: Headers, client: tuple[str, int] | None) -> bool:
        if not self._allowed:
            return True
        address = self._callers.address(client[0] if client else None, headers)
        return address is not None and is_in(address, self._allowed)

    def _warn_of_refused(self, headers: Headers, client: tuple[str, int] | None) -> None:
        self._refused_since_warning += 1
        now = time.monotonic()
        if now - self._warned_at >= WARN_EVERY:
            last = self._callers.address(client[0] if client else None, headers)
            log.warning(
                "callbacks_refused", count=self._refused_since_warning, last=str(last or "unknown")
            )
            self._warned_at, self._refused_since_warning = now, 0


class _ProbedError(Exception):
    """The call is a probe, which has this answer; nothing is stored."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class _ResponseWaiter:
    """A batcher's waiter that responds to a request once its call is durable, and not before."""

    __slots__ = ("_began", "_request", "_tally", "call")
    call: Call

    def __init__(self, request: CompleteRequest, tally: Tally) -> None:
        self._request = request
        self._tally = tally
        self._began = time.monotonic()

    def done(self) -> bool:
        """Never: the request is still to be responded to."""
        return False

    def set_result(self, _result: None, /) -> None:
        """The call is durable."""
        if isinstance(self.call, Receipt):
            request_id = request_id_of(self._request.headers)
            self._request.respond(200, answered_headers(request_id), b"")
            self._tally.taken(self.call, self._began, request_id, self._request.headers)
        else:
            self.set_exception(_refusal(self.call))

    def set_exception(self, exception: Exception, /) -> None:
        """The call could not be kept, or was kept as a rejection."""
        if not isinstance(exception, ServiceError):
            log.error("receipt_not_kept", exc_info=exception)
            exception = ServiceError("The failure is logged. Nothing is known of its effects.")
        self._tally.refused(exception)
        self._request.respond(exception.status, *_problem(exception))


def _declared_size(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _message_id(value: bytes) -> UUID | None:
    """The message's id from the header that we asked iovox to send; a malformed one is ignored."""
    try:
        return id_of(value.decode("ascii").strip())
    except ValueError:
        log.warning("message_id_header_ignored", why="it is not a UUID")
        return None


def _refusal(rejection: Rejection) -> ServiceError:
    kept = f"{rejection.reason}. The call is kept as {rejection.arrival.id}."
    if rejection.http_status == 400:
        return BadRequest(kept, errors=rejection.errors)
    return Invalid(kept, errors=rejection.errors)


async def _answer_problem(send: Send, error: ServiceError) -> None:
    await _answer(send, error.status, *_problem(error))


async def _answer(send: Send, status: int, headers: Headers, body: bytes) -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(error: ServiceError) -> tuple[Headers, bytes]:
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return [(b"content-type", b"application/problem+json"), *headers], problem_body(error)
