"""Every command there is, read off the command line: a new one is tested without being named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from app.cli import COMMANDS, command


def offered_commands() -> list[str]:
    """Each as its words, such as `keys create`."""
    return sorted(words for name in COMMANDS for words in _leaves(loaded(name), (name,)))


def loaded(name: str) -> Any:
    """The command, or the group of commands, of this name."""
    group: Any = get_command(command([name]))
    return group.commands[name]


def _leaves(found: Any, words: tuple[str, ...]) -> Iterator[str]:
    if not hasattr(found, "commands"):
        yield " ".join(words)
        return
    for name, one in found.commands.items():
        yield from _leaves(one, (*words, name))
