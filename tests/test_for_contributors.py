"""What contributors are handed: the gate's own tools, in a form that their programs read."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.process import PROJECT

BIN = Path(sys.executable).parent


def tools(text: str) -> set[str]:
    return set(re.findall(r"(?:\$\(BIN\)|\.venv/bin)/([a-z-]+)", text))


def test_hooks_and_gate_run_the_same_tools() -> None:
    makefile = (PROJECT / "Makefile").read_text()
    lint = makefile[makefile.index("\nlint:") : makefile.index("\n.PHONY: check")]
    hooks: dict[str, Any] = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    assert tools("\n".join(entries)) == tools(lint)


def test_the_workflow_follows_its_schema_and_calls_the_gate() -> None:
    path = PROJECT / ".github" / "workflows" / "gate.yml"
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    steps = yaml.safe_load(path.read_text())["jobs"]["gate"]["steps"]
    assert {"run": ".ci/run"} in steps


def test_the_workflow_builds_each_image_that_there_is() -> None:
    path = PROJECT / ".github" / "workflows" / "gate.yml"
    built = yaml.safe_load(path.read_text())["jobs"]["images"]["strategy"]["matrix"]["include"]
    stages = re.findall(r"^FROM base AS (\w+)", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert {each["target"] for each in built} == set(stages)


def test_editors_are_told_what_ruff_holds() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (PROJECT / ".editorconfig").read_text())
    assert parser["*"]["max_line_length"] == "100"


# What a change of this kind adds to, by the names that the files had then.
EXAMPLES = {
    "a route": "routes.py",
    "a setting": "app/settings",
    "an error": "app/errors.py",
    "a metric": "app/ops/metrics.py",
    "a migration": "migrations/versions/",
    "a command": "app/cli/",
    "a dependency": "pyproject.toml",
}


def git(*words: str) -> str:
    # The files may belong to somebody else than who runs the tests.
    command = ["git", "-c", f"safe.directory={PROJECT}", "-C", str(PROJECT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_each_kind_of_change_has_an_example_in_the_history() -> None:
    text = (PROJECT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (an? \w+) \|.*\| ([0-9a-f]{7,})[0-9a-f, ]* \|$", text, re.MULTILINE)
    assert [kind for kind, _ in rows] == [*EXAMPLES]
    try:
        here = {kind: git("rev-list", "--no-walk", "--ignore-missing", at) for kind, at in rows}
    except (OSError, subprocess.CalledProcessError):
        here = {}
    if not any(here.values()):
        pytest.skip("the history is not here")
    for kind, commit in rows:
        touched = git("show", "--name-only", "--format=", commit).splitlines()
        assert any(EXAMPLES[kind] in name for name in touched), (kind, touched)
        git("merge-base", "--is-ancestor", commit, "HEAD")
