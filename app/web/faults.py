"""pydantic's findings as faults that callers read: the field as they wrote it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.errors import FieldError

LONGEST_QUOTE = 100

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "is not a field of this request",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "dict_type": "must be an object",
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

_PARAMETER_WORDS = _WORDS | {
    "extra_forbidden": "is not a parameter here",
    "string_too_long": "is longer than {max_length} characters",
}


def faults_of(errors: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """``errors`` as ``ValidationError.errors()`` gives them for a body."""
    return tuple(FieldError(_place(error["loc"]), _message(error, _WORDS)) for error in errors)


def request_faults_of(errors: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """The same for a request: places begin with ``body``, ``query``, ``path`` or ``header``."""
    return tuple(
        FieldError(
            _place(error["loc"][1:]),
            _message(error, _WORDS if error["loc"][0] == "body" else _PARAMETER_WORDS),
        )
        for error in errors
    )


def quoted(text: str) -> str:
    """A text from outside as a problem may quote it: bounded, and without lone surrogates."""
    return printable(text)[:LONGEST_QUOTE]


def printable(text: str) -> str:
    """A text from outside without lone surrogates, which UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()


def _place(parts: Sequence[object]) -> str:
    return quoted(".".join(str(part) for part in parts)) if parts else "body"


def _message(error: Mapping[str, Any], messages: Mapping[str, str]) -> str:
    words = messages.get(error["type"])
    if words is None:
        return str(error["msg"]).removeprefix("Value error, ")
    return words.format_map(error.get("ctx", {}))
