"""Conversion of pydantic's validation errors to field errors that tell the caller what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.errors import FieldError

MAX_QUOTE = 100
MAX_MESSAGE = 300
"""Characters of what is wrong with a field; a quote within it has MAX_QUOTE."""

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


def faults_of(errors: Sequence[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """The field errors of a body's ``ValidationError.errors()``."""
    return tuple(FieldError(_field(error["loc"]), _message(error, _WORDS)) for error in errors)


def request_faults_of(errors: Iterable[Mapping[str, Any]]) -> tuple[FieldError, ...]:
    """The field errors of a request, whose ``loc`` begins with ``body``, ``query`` or the like."""
    return tuple(
        FieldError(
            _field(error["loc"][1:]),
            _message(error, _WORDS if error["loc"][0] == "body" else _PARAMETER_WORDS),
        )
        for error in errors
    )


def quoted(text: str) -> str:
    """Untrusted text for a problem: truncated, and without lone surrogates."""
    return printable(text[:MAX_QUOTE])


def printable(text: str) -> str:
    """Untrusted text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def _field(parts: Sequence[object]) -> str:
    return quoted(".".join(str(part)[:MAX_QUOTE] for part in parts)) if parts else "body"


def _message(error: Mapping[str, Any], messages: Mapping[str, str]) -> str:
    text = messages.get(error["type"])
    if text is None:
        return str(error["msg"]).removeprefix("Value error, ")[:MAX_MESSAGE]
    return text.format_map(error.get("ctx", {}))
