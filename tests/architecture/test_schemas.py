"""The OpenAPI document is generated: there is no JSON Schema by hand, with two exceptions."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.support.process import PROJECT

BY_HAND = {
    "app/receive/documentation.py",  # the operation of /dlr
    "app/web/problems.py",  # problems, and the table of response headers
}
WORDS = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "properties", "additionalProperties"}
TYPES = {"object", "array", "string", "integer", "number", "boolean", "null"}


def is_schema(node: ast.Dict) -> bool:
    for name, value in zip(node.keys, node.values, strict=True):
        if isinstance(name, ast.Constant):
            if name.value in WORDS:
                return True
            if name.value == "type" and isinstance(value, ast.Constant) and value.value in TYPES:
                return True
    return False


def has_schema(path: Path) -> bool:
    tree = ast.parse(path.read_text())
    return any(isinstance(node, ast.Dict) and is_schema(node) for node in ast.walk(tree))


def test_no_other_module_has_a_schema_by_hand() -> None:
    modules = (PROJECT / "app").rglob("*.py")
    assert {str(one.relative_to(PROJECT)) for one in modules if has_schema(one)} == BY_HAND
