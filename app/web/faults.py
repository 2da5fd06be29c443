"""pydantic's findings as faults that callers read: the field as they wrote it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.errors import FieldError

LONGEST_QUOTE = 100

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    "model_type": "must be a JSON object",
    "model_attributes_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a list",
    "frozen_set_type": "must be a list",
    "string_type": "must be text",
    "string_unicode": "has characters that cannot be sent",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "enum": "must be one of: {expected}",
    "literal_error": "must be one of: {expected}",
}


def faults_of(errors: Iterable[Mapping[str, Any]], *, skip: int = 0) -> tuple[FieldError, ...]:
    """``errors`` as ``ValidationError.errors()`` gives them; ``skip`` parts of a place are cut."""
    return tuple(FieldError(_place(error["loc"][skip:]), _message(error)) for error in errors)


def quoted(text: str) -> str:
    """A text from outside as a problem may quote it: bounded, and without lone surrogates."""
    return text.encode("utf-8", "replace").decode()[:LONGEST_QUOTE]


def _place(parts: Iterable[object]) -> str:
    return quoted(".".join(str(part) for part in parts)) or "body"


def _message(error: Mapping[str, Any]) -> str:
    words = _WORDS.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format_map(error.get("ctx", {}))
