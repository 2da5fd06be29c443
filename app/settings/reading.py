"""Reads the settings from the environment, and the secrets among them from files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr, ValidationError

from app.settings.fields import FILE, SECRETS, Settings, variable
from app.settings.spelling import misspelt

LARGEST_SECRET = 64 * 1024
"""Bytes: a file that is larger was named by mistake."""
SHORTEST_KEY = 16
"""Characters of DLR_ERASURE_KEY at least."""


class SettingsError(Exception):
    """Settings are missing or invalid; the text names each variable and how to set it."""


def load(*, needs: Iterable[str] = ()) -> Settings:
    """Read the environment. Raises SettingsError."""
    settings, errors = read(needs=needs)
    if errors:
        raise SettingsError(report(errors))
    return settings


def read(*, needs: Iterable[str] = ()) -> tuple[Settings, dict[str, str]]:
    """Read the environment; returns the settings, and the errors by field.

    An invalid field has its default in the settings, so that the others can be checked, too. A
    variable that is not known is an error where it looks like a field that is not set.
    """
    errors = misspelt(os.environ)
    from_files, unreadable = _secrets_in_files(os.environ)
    errors |= unreadable
    try:
        settings = Settings(**from_files)
    except ValidationError as invalid:
        for found in invalid.errors(include_input=False, include_url=False):
            errors[str(found["loc"][0])] = found["msg"].removeprefix("Value error, ")
        defaults = {name: Settings.model_fields[name].default for name in errors}
        settings = Settings(**(from_files | defaults))
    for name in needs:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text is None or not str(text).strip():
            errors.setdefault(name, "is not set")
    return settings, errors


def read_secrets_again(settings: Settings) -> tuple[Settings, dict[str, str]]:
    """``settings`` with what the files of its secrets say now, and what is wrong with the others,
    by variable: these keep their value.
    """
    given = {name for name in SECRETS if _given(os.environ, variable(name) + FILE)}
    found, errors = read()
    good = {name: getattr(found, name) for name in given - errors.keys()}
    wrong = {variable(name) + FILE: errors[name] for name in sorted(given & errors.keys())}
    return settings.model_copy(update=good), wrong


def _secrets_in_files(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The secrets that are given as files, and what is wrong with those that cannot be read."""
    found: dict[str, Any] = {}
    errors: dict[str, str] = {}
    for name in SECRETS:
        path = _given(environment, variable(name) + FILE)
        if not path:
            continue
        if _given(environment, variable(name)):
            errors[name] = f"is set, and {variable(name)}{FILE} too: leave one of them out"
            continue
        try:
            found[name] = _read_secret(Path(path))
        except ValueError as error:
            errors[name] = f"{variable(name)}{FILE}: {path} {error}"
    return found, errors


def _read_secret(path: Path) -> str:
    """What a file holds, without line breaks at its end. Links are followed: an orchestrator's
    secrets are links. Raises ValueError in words that follow the file's name.
    """
    try:
        if not path.is_file():  # a pipe without a writer would hold up the start for ever
            raise ValueError("is no file")
        with path.open("rb") as file:
            text = file.read(LARGEST_SECRET + 1).decode().rstrip("\r\n")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not text") from None
    if not text.strip():
        raise ValueError("is empty")
    if len(text) > LARGEST_SECRET:
        raise ValueError(f"is larger than {LARGEST_SECRET // 1024} KiB")
    return text


def _given(environment: Mapping[str, str], name: str) -> str:
    values = (value for given, value in environment.items() if given.upper() == name)
    return next(values, "").strip()


def erasure_key(settings: Settings) -> bytes | None:
    """The key of erasures' digests; None where none is set. Raises SettingsError."""
    text = (settings.erasure_key.get_secret_value() if settings.erasure_key else "").strip()
    if text and len(text) < SHORTEST_KEY:
        raise SettingsError(report({"erasure_key": f"is shorter than {SHORTEST_KEY} characters"}))
    return text.encode() or None


def report(errors: Mapping[str, str]) -> str:
    """A message that names each invalid variable and how to set it."""
    lines = ["The configuration is not complete. Set these environment variables:"]
    for name, found in errors.items():
        lines.append(f"  {variable(name)}: {found}")
        lines.append(f"      {Settings.model_fields[name].description}")
    return "\n".join(lines)
