"""The fast path of `/dlr`: a POST that arrived whole is answered without ASGI.

An application may register handlers for complete POSTs in ``complete_posts``, by path. A POST whose
last byte arrived together with its first is handed to the handler without a task, an ASGI scope or
events, which together cost more than parsing the request and storing a receipt (see
docs/performance.md). A request that arrives in pieces, or while another one on its connection is
being answered, takes the ASGI path. There it waits for no turn either, if the application's
``has_precedence`` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from app.server.protocol import GracefulHttp
from app.server.requests import CompleteRequest, Headers, Scope

Posts = Mapping[bytes, Callable[[CompleteRequest], None]]


class CompletePostHttp(GracefulHttp):
    """One connection of the service."""

    _buffered: list[bytes] | None = None
    """The body so far of a request that may turn out to be complete; None on the ASGI path."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        application: object = self.app
        self._complete_posts: Posts = getattr(application, "complete_posts", {})
        self._has_precedence: Callable[[Scope], bool] = getattr(
            application, "has_precedence", lambda _scope: True
        )

    def write_response(
        self, request: CompleteRequest, status: int, headers: Headers, body: bytes
    ) -> None:
        """Write the response to a complete request."""
        self._turns.receipt_ends()
        self._write(request, status, headers, body)

    def write_refusal(
        self, request: CompleteRequest, status: int, headers: Headers, body: bytes
    ) -> None:
        """Write it in its turn; until then the connection's next request waits."""
        self._turns.receipt_refused()
        self._turns.begin(partial(self._write, request, status, headers, body))

    def _write(self, request: CompleteRequest, status: int, headers: Headers, body: bytes) -> None:
        request.response_complete = True
        if request.disconnected or self.transport.is_closing():
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        if not request.keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"content-length: %d\r\n\r\n" % len(body), body)
        self.transport.write(b"".join(lines))
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _parse(self, data: bytes) -> None:
        super()._parse(data)
        if self._buffered is not None:
            self._fall_back_to_asgi()

    def _begin_request(self) -> None:
        if self.url in self._complete_posts and self._may_be_complete():
            self._buffered = []
        else:
            super()._begin_request()

    def _take_body(self, body: bytes) -> None:
        if self._buffered is None:
            super()._take_body(body)
        else:
            self._buffered.append(body)

    def _end_request(self) -> None:
        if self._buffered is None:
            super()._end_request()
            return
        keep_alive = not self._is_shutting_down and self.parser.should_keep_alive()
        request = CompleteRequest(self, b"".join(self._buffered), keep_alive=keep_alive)
        self._buffered = None
        self.cycle = request  # type: ignore[assignment]
        self._turns.receipt_begins()
        self._complete_posts[self.url](request)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        scope: Any = cycle.scope
        is_post = scope["method"] == "POST" and scope["raw_path"] in self._complete_posts
        if is_post and self._has_precedence(scope):
            self._start_at_once(cycle, self._turns.as_receipt(app))
        else:
            super()._start_asgi_task(cycle, app)

    def _may_be_complete(self) -> bool:
        """Whether the request may take the fast path, if its whole body has arrived."""
        return (
            self._is_idle()
            and not self.expect_100_continue
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )

    def _fall_back_to_asgi(self) -> None:
        """Take the ASGI path: the body is incomplete, or was not HTTP."""
        parts, self._buffered = self._buffered or [], None
        if self.parser is None or self.transport.is_closing():
            return
        self._begin_cycle()
        for part in parts:
            super()._take_body(part)
