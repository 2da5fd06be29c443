"""Writes the references of settings, commands, errors and metrics from the code: `make docs`.

tests/test_docs.py fails where a page does not say what the code does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from typer.main import get_command

import app.send.routes  # noqa: F401  routes may have errors of their own
from app.cli import COMMANDS, command
from app.errors import ServiceError
from app.ops.metrics import Metrics
from app.settings import FILE, NEEDED_TO_SERVE, SECRETS, Settings, variable

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
OPERATIONS = HERE / "operations.md"
DAY = 86_400
TABLE = re.compile(r"\| variable \| default \| \|\n\|---\|---\|---\|\n(?:\| `DLR_.*\n)+")
METRICS = re.compile(r"\| metric \| \|\n\|---\|---\|\n(?:\| `.*\n)+")
MADE = "Made from the code by `make docs`: change it there."


def settings_table() -> str:
    """Every setting with its default, in the order of the code."""
    rows = [
        f"| `{variable(name)}` | {_default(name)} | {_escaped(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows])


def settings_page() -> str:
    """docs/settings.md."""
    files = "\n".join(f"- `{variable(name)}{FILE}`" for name in SECRETS)
    return f"""# Settings

{MADE} Durations are in seconds. A name that begins with `DLR_`
and is not known is warned of; one that is nearly a known one stops the start.

{settings_table()}

Each secret can be a file instead, which is read again on SIGHUP
([operations.md](operations.md#secrets-in-files)):

{files}

The commands that ask a running service (`dlr send`, `status`, `list`, `tail`, `webhooks`, ...) take
`DLR_API_URL` (`http://127.0.0.1:8080`) and `DLR_API_KEY`.
"""


def commands_page() -> str:
    """docs/commands.md."""
    parts = [f"# Commands\n\n{MADE} `dlr COMMAND --help` says the same.\n"]
    for name in COMMANDS:
        group: Any = get_command(command([name]))
        parts += _described(group.commands[name], f"dlr {name}")
    parts.append("Exit codes: 0 done, 1 failed, 2 wrong input or configuration, 130 interrupted.\n")
    return "\n".join(parts)


def errors_page() -> str:
    """docs/errors.md."""
    rows = [
        f"| `{kind.code}` | {kind.status} | {kind.title} | {_first(kind.__doc__ or '')} |"
        for kind in sorted(_kinds(ServiceError), key=lambda kind: (kind.status, kind.code))
    ]
    return "\n".join(
        [
            "# Errors\n",
            f"{MADE} An error is a problem (RFC 9457, `application/problem+json`); its `type` is",
            "`urn:iovox-receipts:problem:` and the code, which stays. Texts may change.\n",
            "| code | status | title | |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def metrics_table() -> str:
    """Every metric, in the order of the alphabet."""
    rows = [f"| `{name}` | {says} |" for name, says in Metrics().documentation()]
    return "\n".join(["| metric | |", "|---|---|", *rows])


def pages() -> dict[Path, str]:
    """Every file that is made, with what it has to say."""
    readme = TABLE.sub(lambda _: settings_table() + "\n", README.read_text(), count=1)
    operations = METRICS.sub(lambda _: metrics_table() + "\n", OPERATIONS.read_text(), count=1)
    return {
        HERE / "settings.md": settings_page(),
        HERE / "commands.md": commands_page(),
        HERE / "errors.md": errors_page(),
        README: readme,
        OPERATIONS: operations,
    }


def _default(name: str) -> str:
    value = Settings.model_fields[name].default
    if isinstance(value, SecretStr):
        value = value.get_secret_value() or None
    if value in (None, ""):
        return "**required**" if name in NEEDED_TO_SERVE else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        days = f" ({value / DAY:g} d)" if value % DAY == 0 and value else ""
        return f"`{value:.0f}`{days}" if value == int(value) else f"`{value}`"
    return f"`{value}`"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


def _described(told: Any, name: str) -> Iterator[str]:
    text = _escaped(cleandoc(told.help or ""))
    yield f"## `{name}`\n\n{text}\n"
    if subcommands := getattr(told, "commands", None):
        for each, one in subcommands.items():
            yield from _described(one, f"{name} {each}")
        return
    rows = [_parameter(parameter) for parameter in told.params if parameter.name != "help"]
    if rows:
        yield "\n".join(["| | default | |", "|---|---|---|", *rows, ""])
    if told.epilog:
        yield f"`{told.epilog.removeprefix('Example: ').partition(', ')[0]}`\n"


def _parameter(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    name = (
        ", ".join((*parameter.opts, *parameter.secondary_opts)) if is_option else parameter.metavar
    )
    default = "" if callable(parameter.default) else parameter.default
    shown = (
        "**required**" if parameter.required else "" if default in (None, "") else f"`{default}`"
    )
    name = name or (parameter.name or "").upper()
    return f"| `{name}` | {shown} | {_escaped(parameter.help or '')} |"


def _kinds(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    yield kind
    for each in kind.__subclasses__():
        if each.__module__ == ServiceError.__module__:  # pages for people have more of their own
            yield from _kinds(each)


def _first(text: str) -> str:
    return _escaped(" ".join(cleandoc(text).partition("\n\n")[0].split()))


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
