"""Every command explains itself, and wrong words get an explanation, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

from app.cli import COMMANDS, command
from tests.architecture.commands import loaded
from tests.support.process import clean_environment, run_dlr

SERVER = {"sqlalchemy", "fastapi", "uvicorn", "alembic", "aiohttp"}
GROUPS = {
    "keys": ("create", "list", "revoke"),
    "receipts": ("rejected", "replay"),
    "secrets": ("key", "encrypt"),
    "webhooks": (
        "create",
        "list",
        "change",
        "pause",
        "resume",
        "delete",
        "rotate",
        "test",
        "deliveries",
        "replay",
    ),
}


EXPLAINED = [
    [name, *subcommand] for name in COMMANDS for subcommand in ([s] for s in GROUPS.get(name, []))
] + [[name] for name in COMMANDS if name not in GROUPS]


@pytest.mark.parametrize("words", EXPLAINED, ids=" ".join)
def test_help_has_an_example(words: list[str]) -> None:
    shown = CliRunner().invoke(command(words), [*words, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert "Example: " in shown.stdout
    assert " ".join(words) in shown.stdout.partition("Example: ")[2]


@pytest.mark.parametrize("words", [["--help"], ["--help", "send"]], ids=" ".join)
def test_all_commands_are_listed(words: list[str]) -> None:
    shown = CliRunner().invoke(command(words), words)
    assert shown.exit_code == 0
    for name in COMMANDS:
        assert f" {name} " in shown.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_line_in_the_list_is_how_the_commands_help_begins(name: str) -> None:
    _, line = COMMANDS[name]
    assert " ".join((loaded(name).help or "").split()).startswith(line.removesuffix("."))


def test_a_command_is_found_after_options_too() -> None:
    shown = CliRunner().invoke(command(["--", "status"]), ["--", "status", "--help"])
    assert "Usage: dlr status" in shown.stdout.replace("root", "dlr", 1)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["sned"], id="an unknown command"),
        pytest.param(["send"], id="nothing of what it needs"),
        pytest.param(["serve", "--port", "http"], id="a port that is none"),
        pytest.param(["serve", "--port", "65536"], id="a port out of range"),
        pytest.param(["serve", "--workers", "0"], id="no server process"),
        pytest.param(["status"], id="no id"),
        pytest.param(["status", "x", "--wtach"], id="an unknown option"),
        pytest.param(["keys", "create", "billing", "--scope", "write"], id="an unknown scope"),
        pytest.param(["keys", "create", " ", "--scope", "send"], id="an app without a name"),
        pytest.param(["keys", "destroy"], id="an unknown subcommand"),
    ],
)
def test_wrong_words_are_explained(words: list[str]) -> None:
    shown = CliRunner().invoke(command(words), words, terminal_width=200)
    assert shown.exit_code == 2
    assert "Traceback" not in shown.output
    assert "help" in shown.output or "Error" in shown.output


def test_the_installed_command_and_the_module_are_the_same() -> None:
    assert "Usage: dlr status" in run_dlr(["status", "--help"]).stdout


@pytest.mark.parametrize(
    ("words", "needed", "not_needed"),
    [
        pytest.param(["--help"], set(), {"httpx", "pydantic", *SERVER}, id="the list of all"),
        pytest.param(["--version"], set(), {"httpx", "pydantic", *SERVER}, id="the version"),
        pytest.param(["status", "--help"], {"httpx"}, SERVER, id="asking a running service"),
        pytest.param(["keys", "--help"], {"sqlalchemy"}, {"fastapi", "jinja2"}, id="a database"),
        pytest.param(["serve", "--help"], set(), SERVER, id="the service's help"),
        pytest.param(["doctor", "--help"], set(), SERVER, id="the doctor's help"),
    ],
)
def test_only_what_is_needed_is_loaded(
    words: list[str], needed: set[str], not_needed: set[str]
) -> None:
    program = (
        f"import sys; sys.argv = ['dlr', *{words}]\n"
        "import app.cli\n"
        "try: app.cli.main()\n"
        "except SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=clean_environment({}),
    )
    modules = set(done.stdout.splitlines()[-1].split())
    assert needed <= modules
    assert not modules & not_needed


def test_the_version_is_shown() -> None:
    shown = run_dlr(["--version"])
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == f"iovox-receipts {version('iovox-receipts')}\n"
