"""`dlr migrate` of one release on the schema of another: up, back, and what it says.

The code under test is the old release; the new one is the same with more migrations.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.here import dlr
from tests.support.long import POSTGRESQL, on
from tests.upgrade.releases import BREAKING, COMPATIBLE, TODAY, Release, newer

pytestmark = pytest.mark.slow

COMPATIBLE_ONE = ("9001_compatible", COMPATIBLE)
BREAKING_ONE = ("9002_breaking", BREAKING)


@pytest.fixture(scope="module")
def compatible(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return newer(tmp_path_factory.mktemp("compatible"), COMPATIBLE_ONE)


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return newer(tmp_path_factory.mktemp("breaking"), COMPATIBLE_ONE, BREAKING_ONE)


@pytest.fixture
def env(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {"DLR_DATABASE_URL": database_url, "DLR_SPOOL_DIR": str(tmp_path / "spool")}


@on(POSTGRESQL)
def test_old_code_on_a_compatible_schema(compatible: Release, env: dict[str, str]) -> None:
    assert compatible.dlr(["migrate"], env).returncode == 0
    done = dlr(["migrate"], env)
    assert done.returncode == 0, done.stderr
    assert "9001_compatible: newer than this version's" in done.stdout
    assert "compatible with it" in done.stdout
    check = dlr(["migrate", "--check", "--json"], env)
    told = json.loads(check.stdout)
    assert (check.returncode, told["standing"], told["usable"]) == (0, "newer-compatible", True)
    assert dlr(["keys", "create", "billing", "--scope", "send"], env).returncode == 0
    assert "Traceback" not in done.stderr + check.stderr


@on(POSTGRESQL)
def test_old_code_on_a_breaking_schema(breaking: Release, env: dict[str, str]) -> None:
    done = breaking.dlr(["migrate"], env)
    assert done.returncode == 0, done.stderr
    assert "9002_breaking is breaking: messages are kept elsewhere" in done.stderr
    for words in (["migrate"], ["keys", "list"], ["migrate", "--to", "0004_one_spelling"]):
        refused = dlr(words, env)
        assert refused.returncode == 1, words
        assert "Traceback" not in refused.stderr
        assert "9002_breaking" in refused.stderr
    assert "messages are kept elsewhere" in dlr(["migrate"], env).stderr
    check = dlr(["migrate", "--check", "--json"], env)
    assert (check.returncode, json.loads(check.stdout)["standing"]) == (1, "newer-breaking")


@on(POSTGRESQL)
def test_check_says_what_would_be_done_and_does_nothing(
    breaking: Release, env: dict[str, str]
) -> None:
    assert dlr(["migrate", "--check"], env).returncode == 0
    check = breaking.dlr(["migrate", "--check"], env)
    assert check.returncode == 3, check.stderr
    assert "9001_compatible: About 9001_compatible." in check.stdout
    assert "locks: messages: for a moment" in check.stdout
    assert "breaking: messages are kept elsewhere" in check.stdout
    again = breaking.dlr(["migrate", "--check", "--json"], env)
    assert again.returncode == 3, again.stderr
    pending = [each["revision"] for each in json.loads(again.stdout)["pending"]]
    assert pending == [COMPATIBLE_ONE[0], BREAKING_ONE[0]]


@on(POSTGRESQL)
def test_back_where_that_loses_nothing(
    compatible: Release, breaking: Release, env: dict[str, str]
) -> None:
    assert compatible.dlr(["migrate"], env).returncode == 0
    back = compatible.dlr(["migrate", "--to", TODAY.head()], env)
    assert back.returncode == 0, back.stderr
    assert back.stdout == f"The schema is at {TODAY.head()}.\n"
    assert dlr(["migrate"], env).stdout == "The schema is up to date.\n"
    assert breaking.dlr(["migrate"], env).returncode == 0
    refused = breaking.dlr(["migrate", "--to", TODAY.head()], env)
    assert refused.returncode == 2
    assert "9002_breaking: all that was kept elsewhere" in refused.stderr
    assert breaking.dlr(["migrate", "--check"], env).returncode == 0
    unknown = dlr(["migrate", "--to", "0815"], env)
    assert unknown.returncode == 2
    assert "There is no revision 0815" in unknown.stderr


@on(POSTGRESQL)
def test_check_and_to_do_not_go_together(env: dict[str, str]) -> None:
    assert dlr(["migrate", "--check", "--to", "0001"], env).returncode == 2


def test_check_makes_no_file(tmp_path: Path) -> None:
    file = tmp_path / "none.db"
    done = dlr(["migrate", "--check"], {"DLR_DATABASE_URL": f"sqlite:///{file}"})
    assert done.returncode == 2
    assert not file.exists()
