"""The OpenAPI document: FastAPI's own, with the few parts that it cannot know.

Those are the operation of `/dlr`, which is answered in front of the framework, and the schema of
problems, which `app.web.problems` refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from app.web.problems import Problem

Json = dict[str, Any]

DESCRIPTION = """\
Sends texts through iovox, keeps every delivery receipt, and tells what became of each message.

Every operation under `/v1` takes an API key as `Authorization: Bearer <key>`. What fails is told as
`application/problem+json` (RFC 9457). Times are RFC 3339 in UTC.

| status | |
|---|---|
| QUEUED | waits to be sent |
| SENDING | is on its way to iovox |
| UNCONFIRMED | iovox may have it: the response was lost, and it is never sent again by itself |
| SUBMITTED | iovox has it |
| ACKNOWLEDGED, BUFFERED | the network has it, and tries, or tries again |
| DELIVERED, FAILED, EXPIRED | iovox's final word |
| REJECTED, CANCELLED, UNSENT | refused, taken back, given up: it never became a text |
| UNKNOWN | known only from receipts whose statuses nobody knows |
"""

TAGS = [
    {"name": "send", "description": "Messages on their way to iovox"},
    {"name": "look up", "description": "What became of messages"},
    {"name": "events", "description": "Status changes in the order of commits, in pages and live"},
    {"name": "webhooks", "description": "Status changes, delivered to a URL of yours"},
    {"name": "receive", "description": "What iovox calls"},
    {"name": "rejected receipts", "description": "Calls of iovox's that could not be understood"},
    {"name": "operations", "description": "For orchestrators and Prometheus"},
]

_NEVER_ANSWERED = ("HTTPValidationError", "ValidationError")


def complete(document: Json, *, paths: Mapping[str, Json], schemes: Mapping[str, Json]) -> Json:
    """Add the paths that are answered in front of the framework, and the schema of problems."""
    document["paths"].update(paths)
    components = document.setdefault("components", {})
    components.setdefault("securitySchemes", {}).update(schemes)
    schemas = components.setdefault("schemas", {})
    for name in _NEVER_ANSWERED:
        schemas.pop(name, None)
    _, problem = models_json_schema(
        [(Problem, "serialization")], ref_template="#/components/schemas/{model}"
    )
    schemas.update(problem["$defs"])
    for operation in _operations(document):
        _drop_framework_error(operation)
    return document


def _operations(document: Json) -> Iterable[Json]:
    for path in [*document["paths"].values(), *document.get("webhooks", {}).values()]:
        yield from (operation for operation in path.values() if isinstance(operation, dict))


def _drop_framework_error(operation: Json) -> None:
    """FastAPI documents a 422 of its own beside ours; it is never answered."""
    content = operation["responses"].get("422", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    if reference.endswith("/HTTPValidationError"):
        del content["application/json"]
        if not content:
            del operation["responses"]["422"]
