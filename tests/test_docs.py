"""The documents say what is so: settings, commands, routes and links are held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.cli import MODULES
from app.main import create_app
from app.ops.metrics import Metrics
from app.settings import NEEDED_TO_SERVE, Settings, variable
from tests.support.process import PROJECT

README = PROJECT / "README.md"
DOCUMENTS = [
    README,
    PROJECT / "CHANGELOG.md",
    PROJECT / "client" / "README.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
DAY = 86_400
SETTINGS = Settings(
    public_url="https://sms.example.com",
    callback_url_headers=SecretStr("X-Custom-Header: secret"),
    iovox_username="me",
    iovox_secure_key=SecretStr("secret"),
)


def default_of(name: str) -> str:
    value = Settings.model_fields[name].default
    if isinstance(value, SecretStr):
        value = value.get_secret_value() or None
    if value in (None, ""):
        return "**required**" if name in NEEDED_TO_SERVE else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        days = f" ({value / DAY:g} d)" if value % DAY == 0 else ""
        return f"`{value:.0f}`{days}" if value == int(value) else f"`{value}`"
    return f"`{value}`"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


def settings_table() -> str:
    rows = [
        f"| `{variable(name)}` | {default_of(name)} | {_escaped(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | |", "|---|---|---|", *rows])


def test_the_readme_has_every_setting_with_its_default() -> None:
    table = settings_table()
    assert table in README.read_text(), f"put this into README.md instead:\n\n{table}\n"


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_and_variables_exist(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets
    for command in re.findall(r"(?:`|bin/|^|service )dlr ([a-z]+)", text, re.MULTILINE):
        assert command in MODULES
    known = {variable(name) for name in Settings.model_fields} | {"DLR_API_URL", "DLR_API_KEY"}
    assert set(re.findall(r"DLR_[A-Z][A-Z0-9_]*[A-Z0-9]", text)) <= known


def test_the_readme_leads_with_two_commands_that_the_gate_runs() -> None:
    assert "\nmake test " in README.read_text()
    assert "make test" in (PROJECT / ".ci" / "run").read_text()


def test_the_overview_of_the_api_has_every_route() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    app = create_app(SETTINGS)
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}`" in text, f"{method} {path}"


def metrics_table() -> str:
    rows = [f"| `{name}` | {says} |" for name, says in Metrics().documentation()]
    return "\n".join(["| metric | |", "|---|---|", *rows])


def test_the_operators_have_every_metric() -> None:
    table = metrics_table()
    text = (PROJECT / "docs" / "operations.md").read_text()
    assert table in text, f"put this into docs/operations.md instead:\n\n{table}\n"
