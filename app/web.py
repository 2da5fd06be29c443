"""What the HTTP routes share: JSON bodies in, problem details out. Bytes in are never trusted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive

from app.errors import (
    BadRequest,
    BodyTooLarge,
    FieldError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    ServiceError,
    problem_body,
)
from app.openapi import offered_methods
from app.query import only_named

LARGEST_BODY = 4 * 1024 * 1024
"""Bytes: a batch of 1,000 messages, each with 160 escaped emoji, has room."""
BODY_PATIENCE = 30.0
"""Seconds for a body to arrive."""

PROBLEM = "application/problem+json"

log = structlog.get_logger(__name__)


async def read_json(request: Request) -> Any:
    """The JSON of a body. Raises BadRequest, BodyTooLarge or RequestTimeout."""
    return json_of(await read_body(request.receive))


async def read_body(receive: Receive) -> bytes:
    """The whole of a body. Raises BadRequest, BodyTooLarge or RequestTimeout.

    After a refusal the server reads what is left and drops it, so that the answer is seen.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    try:
        async with asyncio.timeout(BODY_PATIENCE):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":  # nobody reads the answer: nothing to log
                    raise BadRequest("The connection was cut before the body was whole")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > LARGEST_BODY:
                    raise too_large()
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestTimeout(
            f"The body did not arrive within {BODY_PATIENCE:g} s", headers={"Connection": "close"}
        ) from None
    return b"".join(chunks)


def too_large() -> BodyTooLarge:
    """What a body beyond the limit is answered."""
    return BodyTooLarge(f"A body has at most {LARGEST_BODY} bytes")


def json_of(body: bytes) -> Any:
    """The JSON that these bytes are. Raises BadRequest."""
    try:
        return _JSON.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {_why(error)}"[:300]) from None


class _NotJsonError(ValueError):
    """A word that Python reads as JSON, and nobody else."""


def _not_json(word: str) -> None:
    raise _NotJsonError(f"{word} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_not_json)


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | _NotJsonError):
        return str(error)
    return "a number is too long"  # Python has its own words, which are for programmers


def only_parameters(request: Request, *known: str) -> None:
    """Raises Invalid for a query parameter that the route does not know, since a typo is no filter;
    and for one that is empty or repeated, since only one of its values would count.
    """
    only_named(request.query_params.multi_items(), *known)


def problem(error: ServiceError, **members: str) -> Response:
    """The error as RFC 9457 asks for it, with extension members of its own."""
    return Response(
        problem_body(error, **members),
        status_code=error.status,
        media_type=PROBLEM,
        headers=error.headers,
    )


def handle_errors(app: FastAPI) -> None:
    """Make every error of every route a problem; what nobody foresaw says nothing of itself."""

    @app.exception_handler(ServiceError)
    async def _on_purpose(_request: Request, error: ServiceError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        faults = tuple(
            FieldError(".".join(str(part) for part in fault["loc"][1:]), str(fault["msg"]))
            for fault in error.errors()
        )
        return problem(Invalid("Some parameters are at fault", errors=faults))

    @app.exception_handler(HTTPException)
    async def _framework(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            first = (error.headers or {}).get("Allow", "")
            allowed = offered_methods(app.openapi(), request.url.path) or first
            return problem(
                MethodNotAllowed(
                    f"{request.method} is not offered at this path", headers={"Allow": allowed}
                )
            )
        if error.status_code == 404:
            return problem(NotFound("There is nothing at this path; /docs lists what there is"))
        return problem(BadRequest(str(error.detail)))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
        return problem(ServiceError("The failure is logged. Nothing is known of its effects."))
