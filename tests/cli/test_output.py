"""What is printed: whatever a stranger wrote, a terminal only shows it."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from app.cli.output import coloured, complain, harmless, show

NASTY = "\x1b]0;owned\x07\x1b[31mred [bold]x[/bold] \u202egnp.exe\r\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ünïcode & <emoji> 😀", "Ünïcode & <emoji> 😀"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\x00", "a\\nb\\tc\\x00"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_tables_show_text_as_it_is() -> None:
    out = StringIO()
    with redirect_stdout(out):
        show([{"body": NASTY, "status": "[red]", "none": None}], as_json=False)
    text = out.getvalue()
    assert "[bold]x[/bold]" in text
    assert "[red]" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_json_keeps_every_character() -> None:
    out = StringIO()
    with redirect_stdout(out):
        show([{"body": NASTY + "\ud800"}], as_json=True)
    assert json.loads(out.getvalue()) == {"body": NASTY + "\ud800"}
    assert out.getvalue().encode()


def test_errors_keep_their_lines() -> None:
    errors = StringIO()
    with redirect_stderr(errors):
        complain("one\n  two \x1b[31m")
    assert errors.getvalue() == "one\n  two \\x1b[31m\n"


def test_a_status_that_nobody_knows_has_no_colour() -> None:
    assert (coloured("DELIVERED").style, coloured("LOST").style) == ("green", "")
