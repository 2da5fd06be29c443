"""Problem details (RFC 9457): the error handlers of all routes, and their OpenAPI responses.

Unexpected errors are logged; their response reveals nothing about them.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from app.errors import (
    MAX_FAULTS,
    BadRequest,
    BodyTooLarge,
    FieldError,
    Invalid,
    MethodNotAllowed,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RequestTimeout,
    ServiceError,
    TooManyRequests,
    Unavailable,
    UnsupportedMediaType,
    problem_body,
)
from app.web.faults import request_faults_of

PROBLEM_TYPE = "application/problem+json"
ERRORS_LEFT_OUT = "errors_left_out"
"""Name in a request's state: faults that were left out before its body was validated."""

Responses = dict[int | str, dict[str, Any]]

WITH_HEAD = ("/healthz", "/readyz", "/metrics")
"""Paths that answer HEAD as GET, without the body; the document lists GET alone."""

_PARAMETER = re.compile(r"\\\{[^}]*\}")

log = structlog.get_logger(__name__)


class Problem(BaseModel):
    """What went wrong (RFC 9457). `type` is stable and may be matched on; texts may change."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(json_schema_extra={"format": "uri"})
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field(
        default=[],
        max_length=MAX_FAULTS,
        description="Each invalid field, and what is wrong with it",
    )
    errors_left_out: int = Field(
        default=0, ge=0, description="How many more faults there are, if they are not all named"
    )


HEADERS = {
    "WWW-Authenticate": {"description": "Always `Bearer`", "schema": {"const": "Bearer"}},
    "Allow": {"description": "The methods of this path", "schema": {"type": "string"}},
    "Retry-After": {"description": "Whole seconds", "schema": {"type": "string"}},
    "Location": {"description": "The path of the new resource", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where this repeats an earlier response",
        "schema": {"type": "string"},
    },
    "Preference-Applied": {
        "description": "`respond-async` where the request preferred that",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "A digest of the response, for `If-None-Match`",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": 'The next page, as `rel="next"`, if there is one',
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "`no-store`, since it holds a secret",
        "schema": {"type": "string"},
    },
    "Vary": {"description": "Always `Accept`", "schema": {"type": "string"}},
    "Content-Disposition": {
        "description": "The name of the file, for exports",
        "schema": {"type": "string"},
    },
}
"""The descriptions of response headers, see ``headers``."""

_HEADER_OF_STATUS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
_COMMON_ERRORS = (
    BadRequest,
    NotAuthenticated,
    NotAllowed,
    Invalid,
    TooManyRequests,
    ServiceError,
    Unavailable,
)
BODY_ERRORS = (RequestTimeout, BodyTooLarge, UnsupportedMediaType, TooManyRequests)
"""The errors of reading a JSON body."""


def headers(*names: str) -> dict[str, dict[str, Any]]:
    """The OpenAPI description of these response headers."""
    return {name: HEADERS[name] for name in names}


def problems(*kinds: type[ServiceError], retry_after: int | None = None) -> Responses:
    """The responses for these errors, as ``responses=`` of a route with a key.

    The errors of every such route are added. ``retry_after``: a status that may have the header
    Retry-After.
    """
    responses: Responses = {}
    for kind in (*_COMMON_ERRORS, *kinds):
        _add(responses, kind)
    if retry_after is not None:
        responses[retry_after]["headers"] = headers("Retry-After")
    return responses


def problems_without_key(*kinds: type[ServiceError]) -> Responses:
    """The responses for these errors, as ``responses=`` of a route without a key."""
    responses: Responses = {}
    for kind in kinds:
        _add(responses, kind)
    return responses


def problem(error: ServiceError) -> Response:
    """The problem response for an error."""
    return Response(
        problem_body(error),
        status_code=error.status,
        media_type=PROBLEM_TYPE,
        headers=error.headers,
    )


def add_error_handlers(app: FastAPI, *, has_docs: bool) -> None:
    """Render every error of every route as a problem. ``has_docs``: whether there is `/docs`."""

    @app.exception_handler(ServiceError)
    async def _service_error(_request: Request, error: ServiceError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        every = error.errors()
        faults = request_faults_of(every[:MAX_FAULTS])
        left_out = getattr(request.state, ERRORS_LEFT_OUT, 0) + len(every) - len(faults)
        return problem(
            Invalid(
                "The request cannot be read; nothing was done",
                errors=faults,
                errors_left_out=left_out,
            )
        )

    @app.exception_handler(HTTPException)
    async def _http_exception(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            first = (error.headers or {}).get("Allow", "")
            allowed = offered_methods(app.openapi(), request.url.path) or first
            detail = f"{request.method} is not offered at this path"
            return problem(MethodNotAllowed(detail, headers={"Allow": allowed}))
        if error.status_code == 404:
            hint = "; /docs lists what there is" if has_docs else ""
            return problem(NotFound(f"There is nothing at this path{hint}"))
        return problem(BadRequest(str(error.detail)))

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
        return problem(ServiceError("The failure is logged. Nothing is known of its effects."))


def offered_methods(document: dict[str, Any], path: str) -> str:
    """The methods of all routes at a path; FastAPI's Allow header has those of the first."""
    templates = sorted(document["paths"], key=lambda name: "{" in name)
    for parameter in ("[^/]+", ".*"):  # the latter for ids of messages, which may be any text
        for template in templates:
            if re.fullmatch(_PARAMETER.sub(parameter, re.escape(template)), path):
                offered = {method.upper() for method in document["paths"][template]}
                if template in WITH_HEAD:
                    offered.add("HEAD")
                return ", ".join(sorted(offered))
    return ""


def _add(responses: Responses, kind: type[ServiceError]) -> None:
    response = responses.setdefault(
        kind.status,
        {
            "description": kind.title,
            "content": {
                PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
            },
        },
    )
    if name := _HEADER_OF_STATUS.get(kind.status):
        response["headers"] = headers(name)
    example = {
        "type": f"urn:iovox-receipts:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.title,
    }
    response["content"][PROBLEM_TYPE]["examples"][kind.code] = {"value": example}
