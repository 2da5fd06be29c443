"""``POST /dlr``. The caller is the open internet: nothing is believed until the header is checked.

A bare ASGI callable in front of the framework: at thousands of receipts a second, a dependency
stack per request costs more than all the rest.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from uuid import UUID

import structlog
from starlette.types import Receive, Scope, Send
from uuid_utils.compat import uuid7

from app.errors import (
    BadRequest,
    Invalid,
    MethodNotAllowed,
    NotAuthenticated,
    ServiceError,
    problem_body,
)
from app.iovox.callback import MESSAGE_ID_HEADER, CallbackHeaders
from app.metrics import Metrics
from app.model.receipt import Arrival, Receipt, Rejection
from app.receive.bodies import BodyReader, ClientGone
from app.receive.inbox import Inbox

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
        except ClientGone:
            return
        except ServiceError as error:
            await _answer_problem(send, error)
        else:
            await send(_STORED)
            await send(_EMPTY)

    async def _take(self, scope: Scope, receive: Receive) -> None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if not self._headers.verify(headers):
            self._complain(scope)
            raise NotAuthenticated("The call does not carry the secret header of our callbacks")
        if scope["method"] != "POST":
            raise MethodNotAllowed("Receipts are POSTed", headers={"Allow": "POST"})
        body = await self._bodies.read(receive)
        arrival = Arrival(
            id=uuid7(), received_at=datetime.now(UTC), body=body, hint=_message_id(headers)
        )
        call = await self._inbox.accept(arrival)
        if not isinstance(call, Receipt):
            raise _refusal(call)

    def _complain(self, scope: Scope) -> None:
        self._metrics.callbacks_refused.inc()
        self._refused_since_complaint += 1
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY:
            client = scope.get("client") or ("unknown",)
            log.warning("callbacks_refused", count=self._refused_since_complaint, last=client[0])
            self._complained_at, self._refused_since_complaint = now, 0


def _message_id(headers: list[tuple[bytes, bytes]]) -> UUID | None:
    """Our own id of the message, as we asked iovox to send it along; a malformed one is ignored."""
    for name, value in headers:
        if name == MESSAGE_ID_HEADER:
            try:
                return UUID(value.decode("ascii").strip())
            except ValueError:
                log.warning("message_id_header_ignored", why="it is not a UUID")
    return None


def _refusal(rejection: Rejection) -> ServiceError:
    kept = f"{rejection.reason}. The call is kept as {rejection.arrival.id}."
    if rejection.http_status == 400:
        return BadRequest(kept, errors=rejection.errors)
    return Invalid(kept, errors=rejection.errors)


async def _answer_problem(send: Send, error: ServiceError) -> None:
    body = problem_body(error)
    headers = [(b"content-type", b"application/problem+json")]
    headers.append((b"content-length", str(len(body)).encode()))
    headers += [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
