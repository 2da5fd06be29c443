"""What the OpenAPI document says alike of every route. Plain dictionaries: knows no framework.

A route names the errors that it can answer with ``problems(...)``; what every route with a key can
answer is added by ``secured``. ``complete`` puts the shared parts in place and takes out what the
framework adds of its own and we never answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import (
    BadRequest,
    BodyTooLarge,
    Invalid,
    NotAllowed,
    NotAuthenticated,
    RequestTimeout,
    ServiceError,
    Unavailable,
)

Json = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

PROBLEM = "application/problem+json"
API_KEY = "apiKey"
BODY_PROBLEMS = (BadRequest, RequestTimeout, BodyTooLarge)
"""What reading any JSON body can come to."""

DESCRIPTION = """\
Sends texts through iovox, keeps every delivery receipt, and tells what became of each message.

Every operation under `/v1` takes an API key as `Authorization: Bearer <key>`. What fails is told as
`application/problem+json` (RFC 9457). Times are RFC 3339 in UTC.

| status | |
|---|---|
| QUEUED | waits to be sent |
| SENDING | is on its way to iovox |
| UNCONFIRMED | iovox may have it: the answer was lost, and it is never sent again by itself |
| SUBMITTED | iovox has it |
| ACKNOWLEDGED, BUFFERED | the network has it, and tries, or tries again |
| DELIVERED, FAILED, EXPIRED | iovox's final word |
| REJECTED, CANCELLED, UNSENT | refused, taken back, given up: it never became a text |
| UNKNOWN | known only from receipts whose statuses nobody knows |
"""

_PARAMETER = re.compile(r"\\\{[^}]*\}")
_NOT_OURS = ("HTTPValidationError", "ValidationError")

_HEADERS = {
    401: {
        "WWW-Authenticate": {
            "description": "Always `Bearer`",
            "schema": {"type": "string", "const": "Bearer"},
        }
    },
    405: {"Allow": {"description": "The methods that there are", "schema": {"type": "string"}}},
    429: {"Retry-After": {"description": "Whole seconds", "schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "Whole seconds", "schema": {"type": "string"}}},
}

_SCHEMAS: Json = {
    "Problem": {
        "type": "object",
        "description": "What went wrong, as RFC 9457 has it. `type` is stable and may be matched "
        "on; texts may change.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {
                "type": "array",
                "description": "Each thing at fault, where there are several or it has a name",
                "items": {"$ref": "#/components/schemas/FieldError"},
            },
        },
    },
    "FieldError": {
        "type": "object",
        "required": ["field", "message"],
        "properties": {
            "field": {"type": "string", "description": "The field or parameter, as you wrote it"},
            "message": {"type": "string"},
        },
    },
}

_API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, made by `dlr keys create`. Each operation names the scope that "
    "the key needs: `send`, `read` or `admin`; `admin` may do everything and sees every app.",
}


def problems(*kinds: type[ServiceError]) -> Responses:
    """The answers that these errors make, by HTTP status."""
    answers: Responses = {}
    for kind in kinds:
        answer = answers.setdefault(
            kind.status,
            {
                "description": kind.title,
                "content": {
                    PROBLEM: {
                        "schema": {"$ref": "#/components/schemas/Problem"},
                        "examples": {},
                    }
                },
            },
        )
        if headers := _HEADERS.get(kind.status):
            answer["headers"] = headers
        answer["content"][PROBLEM]["examples"][kind.code] = {"value": _example(kind)}
    return answers


def secured(
    scope: str, responses: Mapping[int | str, dict[str, Any]] | None, extra: Json | None
) -> tuple[Responses, Json]:
    """The ``responses`` and ``openapi_extra`` of a route that asks for a key with this scope."""
    shared = problems(NotAuthenticated, NotAllowed, ServiceError, Unavailable)
    return shared | dict(responses or {}), {"security": [{API_KEY: [scope]}]} | (extra or {})


def json_body(schema: Json, *, example: Any, description: str = "") -> Json:
    """The ``openapi_extra`` of a route that reads a JSON body by itself."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {"application/json": {"schema": schema, "example": example}},
        }
    }


def parameter(
    name: str, schema: Json, description: str, *, where: str = "query", **more: Any
) -> Json:
    """One parameter that a route reads by itself, for ``openapi_extra``."""
    return {
        "name": name,
        "in": where,
        "required": where == "path",
        "schema": schema,
        "description": description,
        **more,
    }


def header(description: str, **schema: Any) -> Json:
    """One header of an answer."""
    return {"description": description, "schema": {"type": "string", **schema}}


def offered_methods(document: Json, path: str) -> str:
    """The methods of a path, of all its routes together; the framework knows only the first's."""
    for template in sorted(document["paths"], key=lambda name: "{" in name):
        if re.fullmatch(_PARAMETER.sub("[^/]+", re.escape(template)), path):
            return ", ".join(sorted(method.upper() for method in document["paths"][template]))
    return ""


def complete(
    document: Json,
    *,
    paths: Mapping[str, Json],
    schemas: Mapping[str, Json],
    schemes: Mapping[str, Json],
) -> Json:
    """Put in what routes refer to, and the paths that are answered in front of the framework."""
    document["paths"].update(paths)
    components = document.setdefault("components", {})
    known = components.setdefault("schemas", {})
    for name in _NOT_OURS:
        known.pop(name, None)
    known.update({**_SCHEMAS, **schemas})
    components["securitySchemes"] = {API_KEY: _API_KEY, **schemes}
    for operation in _operations(document):
        _own_validation_error(operation)
    return document


def _operations(document: Json) -> Iterable[Json]:
    for path in document["paths"].values():
        yield from (operation for operation in path.values() if isinstance(operation, dict))


def _own_validation_error(operation: Json) -> None:
    """Ours, where the framework has put its own: those are never answered."""
    answer = operation["responses"].get("422", {})
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("/HTTPValidationError"):
        operation["responses"]["422"] = problems(Invalid)[422]


def _example(kind: type[ServiceError]) -> Json:
    return {
        "type": f"urn:iovox-receipts:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": (kind.__doc__ or kind.title).splitlines()[0],
    }
