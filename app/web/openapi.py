"""The OpenAPI document: FastAPI's, completed by what it cannot generate.

That is the operation of `/dlr`, which is served in front of the framework, and the schema of
problems, which `app.web.problems` refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from app.web.problems import Problem

Json = dict[str, Any]

DESCRIPTION = """\
Sends texts through iovox, stores every delivery receipt, and reports the status of each message.

Every operation under `/v1` takes an API key as `Authorization: Bearer <key>`. Errors are
`application/problem+json` (RFC 9457). Times are RFC 3339 in UTC.

| status | |
|---|---|
| QUEUED | waiting to be sent |
| SENDING | being submitted to iovox |
| UNCONFIRMED | perhaps accepted by iovox: the response was lost. Never sent again automatically |
| SUBMITTED | accepted by iovox |
| ACKNOWLEDGED, BUFFERED | accepted by the network; delivery is attempted, or attempted again |
| DELIVERED, FAILED, EXPIRED | iovox's final statuses |
| REJECTED, CANCELLED, UNSENT | refused, cancelled, given up: no text was sent |
| UNKNOWN | known only from receipts, none of which has a status listed here |
"""

TAGS = [
    {"name": "send", "description": "Sending, cancelling and resending messages"},
    {"name": "look up", "description": "Messages, their statuses and histories"},
    {"name": "events", "description": "Status changes in commit order, in pages and live"},
    {"name": "webhooks", "description": "Status changes, delivered to a URL of yours"},
    {"name": "receive", "description": "The callback for iovox"},
    {
        "name": "rejected receipts",
        "description": "Callbacks of iovox's that are not valid receipts",
    },
    {"name": "record", "description": "Who did what, and what was erased"},
    {"name": "evidence", "description": "What anybody can check without trusting this service"},
    {"name": "operations", "description": "For orchestrators and Prometheus"},
]

_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")


def complete(document: Json, *, paths: Mapping[str, Json], schemes: Mapping[str, Json]) -> Json:
    """Add the paths that are served in front of the framework, and the schema of problems."""
    document["paths"].update(paths)
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {}).update(schemes)
    schemas = components.setdefault("schemas", {})
    for name in _UNUSED_SCHEMAS:
        schemas.pop(name, None)
    _, problem = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas.update(problem["$defs"])
    for operation in _operations(document):
        _drop_framework_error(operation)
        _offer_scopes(operation)
    return document


def _operations(document: Json) -> Iterable[Json]:
    for path in [*document["paths"].values(), *document.get("webhooks", {}).values()]:
        yield from (operation for operation in path.values() if isinstance(operation, dict))


def _drop_framework_error(operation: Json) -> None:
    """Remove FastAPI's own 422 beside ours; it never occurs."""
    content = operation["responses"].get("422", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    if reference.endswith("/HTTPValidationError"):
        del content["application/json"]
        if not content:
            del operation["responses"]["422"]


def _offer_scopes(operation: Json) -> None:
    """Write scopes as alternatives: within one requirement OpenAPI means all of them, and FastAPI
    puts them there.
    """
    if "security" in operation:
        operation["security"] = [
            {name: scopes}
            for requirement in operation["security"]
            for name, every in requirement.items()
            for scopes in ([[scope] for scope in every] or [[]])
        ]
