"""``POST /dlr``. The caller is the open internet: nothing is believed until the header is checked.

A bare ASGI callable in front of the framework: at thousands of receipts a second, a dependency
stack per request costs more than all the rest.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
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
from app.ops.metrics import Metrics
from app.receive.bodies import BodyReader, ClientDisconnected
from app.receive.inbox import Inbox
from app.receive.recorder import Call
from app.server.calls import Headers, Receive, Scope, Send, CompleteRequest
from app.store.ids import id_of, new_id

PATH = "/dlr"
LARGEST_BODY = 64 * 1024
COMPLAIN_EVERY = 10.0
"""Seconds between log lines about refused calls: a flood of them must not fill the disk."""

_STORED = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"0")],
}
_EMPTY = {"type": "http.response.body", "body": b""}

log = structlog.get_logger(__name__)


class DlrEndpoint:
    """Authenticates, reads, hands to the inbox, and answers 200 only after that has it."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        headers: CallbackHeaders,
        metrics: Metrics,
        body_patience: float,
    ) -> None:
        """``body_patience``: seconds for a body to arrive."""
        self._inbox = inbox
        self._bodies = BodyReader(largest=LARGEST_BODY, patience=body_patience)
        self._headers = headers
        self._metrics = metrics
        self._refused_since_complaint = 0
        self._complained_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
        try:
            await self._take(scope, receive)
        except ClientDisconnected:
            return
        except ServiceError as error:
            await _answer_problem(send, error)
        else:
            await send(_STORED)
            await send(_EMPTY)

    def answer_complete(self, call: CompleteRequest) -> None:
        """Answer a POST that was there at once, as most are, without a task of its own."""
        try:
            self._authenticate(call.headers, call.client)
            if len(call.body) > LARGEST_BODY:
                raise self._bodies.too_large()
            ticket = _Ticket(call)
            ticket.understood = self._inbox.take(_arrival(call.headers, call.body), ticket)
        except ServiceError as error:
            call.answer(error.status, *_problem(error))

    async def _take(self, scope: Scope, receive: Receive) -> None:
        headers: Headers = scope["headers"]
        self._authenticate(headers, scope.get("client"))
        if scope["method"] != "POST":
            raise MethodNotAllowed("Receipts are POSTed", headers={"Allow": "POST"})
        if _declared_size(headers) > LARGEST_BODY:
            raise self._bodies.too_large()  # before a client that asks is told to go on
        body = await self._bodies.read(receive)
        understood = await self._inbox.accept(_arrival(headers, body))
        if not isinstance(understood, Receipt):
            raise _refusal(understood)

    def _authenticate(self, headers: Headers, client: tuple[str, int] | None) -> None:
        if not self._headers.verify(headers):
            self._complain(client)
            raise NotAuthenticated("The call does not carry the secret header of our callbacks")

    def _complain(self, client: tuple[str, int] | None) -> None:
        self._metrics.callbacks_refused.inc()
        self._refused_since_complaint += 1
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY:
            last = client[0] if client else "unknown"
            log.warning("callbacks_refused", count=self._refused_since_complaint, last=last)
            self._complained_at, self._refused_since_complaint = now, 0


class _Ticket:
    """A call that waits to be kept, and is answered then and not before."""

    __slots__ = ("_call", "understood")
    understood: Call

    def __init__(self, call: CompleteRequest) -> None:
        self._call = call

    def done(self) -> bool:
        """It is told once, and wants to be."""
        return False

    def set_result(self, _result: None, /) -> None:
        """It is durable."""
        if isinstance(self.understood, Receipt):
            self._call.answer(200, [], b"")
        else:
            self.set_exception(_refusal(self.understood))

    def set_exception(self, exception: Exception, /) -> None:
        """There was no way to keep it, or nothing to be understood."""
        if not isinstance(exception, ServiceError):
            log.error("receipt_not_kept", exc_info=exception)
            exception = ServiceError("The failure is logged. Nothing is known of its effects.")
        self._call.answer(exception.status, *_problem(exception))


def _arrival(headers: Headers, body: bytes) -> Arrival:
    return Arrival(new_id(), datetime.now(UTC), body, _message_id(headers))


def _declared_size(headers: Headers) -> int:
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _message_id(headers: Headers) -> UUID | None:
    """Our own id of the message, as we asked iovox to send it along; a malformed one is ignored."""
    for name, value in headers:
        if name == MESSAGE_ID_HEADER:
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
    headers, body = _problem(error)
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(error: ServiceError) -> tuple[Headers, bytes]:
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return [(b"content-type", b"application/problem+json"), *headers], problem_body(error)
