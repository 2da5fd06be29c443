"""What the commands print: tables for people, JSON for machines, errors in one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines instead of a table.")]

WIDTH_WITHOUT_TERMINAL = 160
"""Characters: room for every table."""

COLOURS = {
    "DELIVERED": "green",
    "FAILED": "red",
    "EXPIRED": "red",
    "REJECTED": "red",
    "UNSENT": "red",
    "CANCELLED": "magenta",
    "UNCONFIRMED": "yellow",
    "BUFFERED": "yellow",
    "UNKNOWN": "yellow",
    "QUEUED": "blue",
    "SENDING": "blue",
    "SUBMITTED": "cyan",
    "ACKNOWLEDGED": "cyan",
}


def complain(words: str) -> None:
    """An error, for people, on standard error."""
    lines = (harmless(line) for line in words.splitlines())
    typer.secho("\n".join(lines), err=True, fg=typer.colors.RED)


def harmless(text: str) -> str:
    """Text from outside without control characters, which are escaped: a terminal obeys them."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def coloured(status: str) -> Text:
    """A status in its colour; an unknown one has none."""
    return Text(harmless(status), style=COLOURS.get(status.strip(), ""))


def show(rows: Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    """A table for people, or one JSON object a line for machines."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    shown = list(rows)
    if not shown:
        typer.echo("Nothing to show.")
        return
    print_table(list(shown[0]), [list(row.values()) for row in shown])


def print_json(value: Any) -> None:
    """One JSON value on one line. A lone surrogate, which no encoding has, stays escaped."""
    text = json.dumps(value, ensure_ascii=False)
    typer.echo(text.encode("utf-8", "backslashreplace").decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, fixed: int = 0) -> None:
    """A plain table on standard output."""
    console().print(table(columns, rows, fixed=fixed))


def remark(words: str) -> None:
    """Something for people, on standard error, so that standard output stays for the answer."""
    typer.echo(words, err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, fixed: int = 0) -> Table:
    """A plain table whose first ``fixed`` columns never wrap.

    Text from outside is shown as it is, never read as markup.
    """
    made = Table(box=None, header_style="bold", pad_edge=False)
    for place, name in enumerate(columns):
        made.add_column(name, no_wrap=place < fixed)
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def console(*, width: int = WIDTH_WITHOUT_TERMINAL) -> Console:
    """Colours and width as the terminal has them; ``width`` is for where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=width)


def _cell(value: Any) -> Text:
    if isinstance(value, Text):
        return value
    return Text("" if value is None else harmless(str(value)))
