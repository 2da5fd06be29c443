"""The documents say what is so: settings, commands, routes and links are held to the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.cli import COMMANDS
from app.main import create_app
from app.settings import FILE, SECRETS, Settings, variable
from docs.generate import metrics_table, pages, settings_table
from tests.support.process import PROJECT

README = PROJECT / "README.md"
DOCUMENTS = [
    README,
    PROJECT / "CHANGELOG.md",
    PROJECT / "CONTRIBUTING.md",
    PROJECT / "SECURITY.md",
    PROJECT / "client" / "README.md",
    *sorted((PROJECT / "docs").glob("*.md")),
]
SETTINGS = Settings(
    public_url="https://sms.example.com",
    callback_url_headers=SecretStr("X-Custom-Header: secret"),
    iovox_username="me",
    iovox_secure_key=SecretStr("secret"),
)


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_the_references_say_what_the_code_does(path: Path) -> None:
    assert path.read_text() == pages()[path], "run `make docs`"


def test_every_setting_is_in_the_readme() -> None:
    assert settings_table() in README.read_text()


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
        assert command in COMMANDS
    known = {variable(name) for name in Settings.model_fields} | {"DLR_API_URL", "DLR_API_KEY"}
    known |= {variable(name) + FILE for name in SECRETS}
    assert set(re.findall(r"DLR_[A-Z][A-Z0-9_]*[A-Z0-9]", text)) <= known


def test_the_readme_leads_with_two_commands_that_the_gate_runs() -> None:
    assert "\nmake test " in README.read_text()
    assert "for target in test test-slow" in (PROJECT / ".ci" / "run").read_text()


def test_the_overview_of_the_api_has_every_route() -> None:
    text = (PROJECT / "docs" / "api.md").read_text()
    app = create_app(SETTINGS)
    for path, methods in app.openapi()["paths"].items():
        for method in methods:
            assert f"{method.upper()} {path}`" in text, f"{method} {path}"


def test_the_operators_have_every_metric() -> None:
    assert metrics_table() in (PROJECT / "docs" / "operations.md").read_text(), "run `make docs`"
