"""Ids as arguments. An empty one, as of a shell variable that is not set, names nothing."""

from __future__ import annotations

from typing import Any

import typer


def id_argument(*, help: str, metavar: str | None = None) -> Any:  # noqa: A002  as typer has it
    """A typer argument whose value is an id."""
    return typer.Argument(callback=_require_some, metavar=metavar, help=help)


def _require_some(text: str | None) -> str | None:
    if text is not None and not text.strip():
        raise typer.BadParameter("an id is needed, and this one is empty")
    return text
