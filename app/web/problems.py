"""Every error of every route as a problem (RFC 9457), and what the document says of it.

What nobody foresaw is logged and tells the caller nothing of itself.
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
    Unavailable,
    problem_body,
)
from app.web.faults import request_faults_of

PROBLEM_TYPE = "application/problem+json"

Responses = dict[int | str, dict[str, Any]]

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
        default=[], description="Each thing at fault, where there are several or it has a name"
    )


HEADERS = {
    "WWW-Authenticate": {"description": "Always `Bearer`", "schema": {"const": "Bearer"}},
    "Allow": {"description": "The methods that there are", "schema": {"type": "string"}},
    "Retry-After": {"description": "Whole seconds", "schema": {"type": "string"}},
    "Location": {"description": "The path of what was made", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "`true` where this repeats an earlier response",
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "Changes with the response; for `If-None-Match`",
        "schema": {"type": "string"},
    },
    "Link": {
        "description": 'The next page, as `rel="next"`, where there is one',
        "schema": {"type": "string"},
    },
    "Vary": {"description": "Always `Accept`", "schema": {"type": "string"}},
    "Content-Disposition": {
        "description": "Of a file: its name",
        "schema": {"type": "string"},
    },
}
"""The headers of responses, for the document; see ``headers``."""

_OF_STATUS = {401: "WWW-Authenticate", 405: "Allow", 429: "Retry-After", 503: "Retry-After"}
_OF_EVERY_KEYED_ROUTE = (NotAuthenticated, NotAllowed, Invalid, ServiceError, Unavailable)
OF_A_BODY = (BadRequest, RequestTimeout, BodyTooLarge)
"""What reading any JSON body can come to."""


def headers(*names: str) -> dict[str, dict[str, Any]]:
    """These headers of a response, for the document."""
    return {name: HEADERS[name] for name in names}


def problems(*kinds: type[ServiceError], retry_after: int | None = None) -> Responses:
    """The responses that these errors make, for ``responses=`` of a route with a key.

    Those that every such route has are added. ``retry_after``: a status that can say when to come
    back, although it does not always.
    """
    responses: Responses = {}
    for kind in (*_OF_EVERY_KEYED_ROUTE, *kinds):
        _add(responses, kind)
    if retry_after is not None:
        responses[retry_after]["headers"] = headers("Retry-After")
    return responses


def problems_without_key(*kinds: type[ServiceError]) -> Responses:
    """The same for a route that asks for no key."""
    responses: Responses = {}
    for kind in kinds:
        _add(responses, kind)
    return responses


def problem(error: ServiceError) -> Response:
    """The error as a response."""
    return Response(
        problem_body(error),
        status_code=error.status,
        media_type=PROBLEM_TYPE,
        headers=error.headers,
    )


def handle_errors(app: FastAPI) -> None:
    """Make every error of every route a problem."""

    @app.exception_handler(ServiceError)
    async def _on_purpose(_request: Request, error: ServiceError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> Response:
        faults = request_faults_of(error.errors())
        return problem(Invalid("The request cannot be read; nothing was done", errors=faults))

    @app.exception_handler(HTTPException)
    async def _framework(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            first = (error.headers or {}).get("Allow", "")
            allowed = offered_methods(app.openapi(), request.url.path) or first
            detail = f"{request.method} is not offered at this path"
            return problem(MethodNotAllowed(detail, headers={"Allow": allowed}))
        if error.status_code == 404:
            return problem(NotFound("There is nothing at this path; /docs lists what there is"))
        return problem(BadRequest(str(error.detail)))

    @app.exception_handler(Exception)
    async def _unforeseen(request: Request, error: Exception) -> Response:
        log.error("request_failed", method=request.method, path=request.url.path, exc_info=error)
        return problem(ServiceError("The failure is logged. Nothing is known of its effects."))


def offered_methods(document: dict[str, Any], path: str) -> str:
    """The methods of a path, of all its routes together; the framework knows only the first's."""
    for template in sorted(document["paths"], key=lambda name: "{" in name):
        if re.fullmatch(_PARAMETER.sub("[^/]+", re.escape(template)), path):
            return ", ".join(sorted(method.upper() for method in document["paths"][template]))
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
    if name := _OF_STATUS.get(kind.status):
        response["headers"] = headers(name)
    example = {
        "type": f"urn:iovox-receipts:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.title,
    }
    response["content"][PROBLEM_TYPE]["examples"][kind.code] = {"value": example}
