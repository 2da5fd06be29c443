"""Every command there is, read off the command line: a new one is tested without being named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from app.cli import command


def offered_commands() -> list[str]:
    """Each as its words, such as `keys create`."""
    return sorted(_leaves(typer.main.get_command(command([])), ()))


def _leaves(found: Any, words: tuple[str, ...]) -> Iterator[str]:
    if not hasattr(found, "commands"):
        yield " ".join(words)
        return
    for name, one in found.commands.items():
        yield from _leaves(one, (*words, name))
