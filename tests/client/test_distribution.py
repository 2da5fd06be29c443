"""The client as apps install it: a package of its own, small, typed, and nothing else of ours."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.process import PROJECT
from tests.support.trust import environment_of_the_world

CLIENT = PROJECT / "client"
CALLER = PROJECT / "tests" / "client" / "caller.py"
UV = Path(sys.executable).with_name("uv")
LOCKED = PROJECT / "requirements-dev.lock"
"""Versions that `make install` has fetched already, so that no package index need be asked."""

LOOK = """
from importlib.metadata import distributions
from importlib.util import find_spec
import iovox_receipts
print(*sorted(one.name for one in distributions()))
print(find_spec("app"), iovox_receipts.Client("https://sms.example.com", "key").send)
"""


def run(words: Sequence[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    world = environment_of_the_world()
    env = {name: value for name, value in world.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the hatchling that is here: that needs no index."""
    folder = tmp_path_factory.mktemp("dist")
    done = run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], CLIENT)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the client and what it brought with it."""
    folder = tmp_path_factory.mktemp("empty")
    made = run([UV, "venv", "-q", "--python", sys.executable, folder / "venv"], folder)
    if made.returncode != 0:
        made = run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    assert made.returncode == 0, made.stderr
    python = folder / "venv" / "bin" / "python"
    failures = [_install(words, folder) for words in _installers(python, wheel)]
    if all(failures):
        if all(_install(words, folder) for words in _installers(python, "httpx")):
            pytest.skip("no package index can be reached, and uv has not kept httpx")
        pytest.fail("\n".join(failures))
    return python


def _installers(python: Path, what: Path | str) -> list[list[str | Path]]:
    """From what is on this machine, from uv's index, by pip with its own settings."""
    uv: list[str | Path] = [UV, "pip", "install", "-q", "--python", python]
    pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    return [[*uv, "--offline", "-c", LOCKED, what], [*uv, what], [*pip, what]]


def _install(words: list[str | Path], folder: Path) -> str:
    """What went wrong; empty where nothing did."""
    done = run(words, folder)
    return done.stderr or "it failed" if done.returncode != 0 else ""


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
    folders = {name.partition("/")[0] for name in names}
    assert folders == {"iovox_receipts", "iovox_receipts_client-0.1.0.dist-info"}
    assert "iovox_receipts/py.typed" in names


def test_it_brings_few_packages_and_not_the_service(python: Path, tmp_path: Path) -> None:
    done = run([python, "-c", LOOK], tmp_path)
    assert done.returncode == 0, done.stderr
    packages, rest = done.stdout.splitlines()
    assert {"iovox-receipts-client", "httpx"} <= set(packages.split())
    assert len(packages.split()) < 10
    assert rest.startswith("None <bound method AsyncClient.send")


def test_a_caller_of_both_clients_is_type_checked(python: Path, tmp_path: Path) -> None:
    """From the wheel alone, as another project's mypy sees it; ``caller.py`` has mistakes in it."""
    (tmp_path / "caller.py").write_text(CALLER.read_text())
    words: list[str | Path] = [sys.executable, "-m", "mypy", "--strict", "caller.py"]
    words += ["--python-executable", python, "--cache-dir", tmp_path / "cache"]
    done = run(words, tmp_path)
    assert (done.returncode, done.stdout) == (0, "Success: no issues found in 1 source file\n")
    unmarked = CALLER.read_text().replace("  # type: ignore[call-arg]", "")
    (tmp_path / "caller.py").write_text(unmarked)
    done = run(words, tmp_path)
    assert 'Unexpected keyword argument "destinatoin"' in done.stdout
