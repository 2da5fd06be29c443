"""A missing or wrong setting stops the start with one message that names every variable at fault,
and no secret with them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli.serving import CHECKS_TO_RECEIVE, checked_settings
from app.errors import ConfigurationError
from app.runtime.runtime import Runtime
from app.settings import NEEDED_TO_SERVE, Settings, variable
from tests.cli.here import dlr, environment, unchanged_logging
from tests.support.process import run_dlr

SECRETS = ("hunter2",)


@pytest.fixture(autouse=True)
def folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool's default place is the working directory."""
    monkeypatch.chdir(tmp_path)


GOOD = {
    "DLR_PUBLIC_URL": "https://sms.example.com",
    "DLR_CALLBACK_URL_HEADERS": "Content-Type: application/json,X-Custom-Header: hunter2-callback",
    "DLR_CALLBACK_PREVIOUS_SECRETS": "hunter2-previous",
    "DLR_IOVOX_USERNAME": "user",
    "DLR_IOVOX_SECURE_KEY": "hunter2-iovox",
    "DLR_IOVOX_PROXY": "http://user:hunter2-proxy@127.0.0.1:1",
    "DLR_DATABASE_URL": "postgresql://dlr:hunter2-database@127.0.0.1:1/dlr",
}
NAMED = {variable(name) for name in Settings.model_fields}


def named_in(text: str) -> set[str]:
    """The variables that a line begins with."""
    words = {line.strip().partition(":")[0] for line in text.splitlines()}
    return words & NAMED


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_with_nothing_set_every_variable_is_named_with_what_to_do(command: str) -> None:
    done = dlr([command], {})
    assert done.returncode == 2
    assert done.stdout == ""
    assert named_in(done.stderr) == {variable(name) for name in NEEDED_TO_SERVE}
    for name in NEEDED_TO_SERVE:
        assert str(Settings.model_fields[name].description) in done.stderr
    assert "Traceback" not in done.stderr


def test_everything_wrong_is_one_message_without_a_secret(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = GOOD | {
        "DLR_PUBLIC_URL": "sms.example.com",
        "DLR_IOVOX_SECURE_KEY": "",
        "DLR_CALLBACK_URL_HEADERS": "X-Custom-Header: hunter2-callback,X-Other: hunter2-callback",
        "DLR_DATABASE_URL": "mysql://dlr:hunter2-database@127.0.0.1/dlr",
        "DLR_SPOOL_DIR": str(tmp_path / "file" / "spool"),
        "DLR_LOG_LEVEL": "loud",
    }
    done = dlr(["serve"], wrong)
    assert done.returncode == 2
    for name in ("PUBLIC_URL", "IOVOX_SECURE_KEY", "CALLBACK_AUTH_HEADER", "DATABASE_URL"):
        assert f"DLR_{name}" in done.stderr
    assert "DLR_SPOOL_DIR" in done.stderr
    assert "DLR_LOG_LEVEL" in done.stderr
    assert "Traceback" not in done.stderr
    for secret in SECRETS:
        assert secret not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DLR_PUBLIC_URL", ""),
        ("DLR_PUBLIC_URL", "   "),
        ("DLR_PUBLIC_URL", "ftp://sms.example.com"),
        ("DLR_PUBLIC_URL", "https://sms.example.com/?x=1"),
        ("DLR_PUBLIC_URL", "https://sms example.com"),
        ("DLR_PUBLIC_URL", "https://sms.exämple.com"),
        ("DLR_PUBLIC_URL", "https://[::1"),
        ("DLR_IOVOX_URL", "api.iovox.com:444"),
        ("DLR_IOVOX_URL", "https://api.iovox.com:port"),
        ("DLR_IOVOX_URL", "https://api.iovox.com:0"),
        ("DLR_IOVOX_URL", "https://user:hunter2-iovox@api.iovox.com"),
        ("DLR_IOVOX_USERNAME", "bénédicte"),
        ("DLR_IOVOX_SECURE_KEY", "hunter2-iovöx"),
        ("DLR_IOVOX_SECURE_KEY", "hunter2-iovox\n"),
        ("DLR_IOVOX_USERNAME", ""),
        ("DLR_IOVOX_SECURE_KEY", " "),
        ("DLR_IOVOX_PROXY", "proxy"),
        ("DLR_IOVOX_PROXY", "socks5://user:hunter2-proxy@proxy:1080"),
        ("DLR_IOVOX_PROXY", "http://user:hunter2-proxy@proxy:port"),
        ("DLR_IOVOX_CA_FILE", "nowhere.pem"),
        ("DLR_IOVOX_CA_FILE", __file__),
        ("DLR_DEFAULT_REGION", "UK"),
        ("DLR_DEFAULT_REGION", "44"),
        ("DLR_IOVOX_READ_TIMEOUT", "0"),
        ("DLR_IOVOX_READ_TIMEOUT", "soon"),
        ("DLR_IOVOX_CONNECT_TIMEOUT", "nan"),
        ("DLR_IOVOX_RATE", "-1"),
        ("DLR_COMMIT_TIMEOUT", "inf"),
        ("DLR_DATABASE_URL", "mysql://dlr:hunter2-database@localhost/dlr"),
        ("DLR_DATABASE_URL", "hunter2-database"),
        ("DLR_DATABASE_URL", "postgresql://dlr:hunter2-database@localhost/dlr?ssl=require"),
        ("DLR_DATABASE_URL", "postgresql://dlr:hunter2-database@localhost/dlr?sslmode=strict"),
        ("DLR_DATABASE_URL", "postgresql://dlr:hunter2-database@localhost:port/dlr"),
        ("DLR_DATABASE_URL", "postgresql://dlr@h/dlr?sslmode=verify-full&sslrootcert=/no.pem"),
        ("DLR_CORS_ORIGINS", "support.example.com"),
        ("DLR_CORS_ORIGINS", "*"),
        ("DLR_CORS_ORIGINS", "https://*.example.com"),
        ("DLR_DATABASE_URL", "sqlite:///:memory:"),
        ("DLR_CORS_ORIGINS", "https://a.example.com,https://b.example.com/page"),
        ("DLR_DATABASE_POOL", "2"),
        ("DLR_LOG_LEVEL", "loud"),
        ("DLR_LOG_FORMAT", "xml"),
        ("DLR_RETRY_ON_500", "perhaps"),
        ("DLR_CALLBACK_URL_HEADERS", "Content-Type: application/json"),
        ("DLR_CALLBACK_URL_HEADERS", "hunter2-callback"),
        ("DLR_CALLBACK_URL_HEADERS", "X-A: hunter2-callback,X-A: hunter2-callback"),
        ("DLR_CALLBACK_AUTH_HEADER", "X-Missing"),
        ("DLR_CALLBACK_PREVIOUS_SECRETS", "hunter2-previöus"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str, tmp_path: Path) -> None:
    env = GOOD | {"DLR_SPOOL_DIR": str(tmp_path / "spool"), name: value}
    done = dlr(["serve", "--port", "0"], env)
    assert (done.returncode, done.stdout) == (2, "")
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    for secret in SECRETS:
        assert secret not in done.stderr


NUMBERS = [
    name
    for name, field in Settings.model_fields.items()
    if any(kind in str(field.annotation) for kind in ("int", "float"))
]
EXTREMES = ["inf", "-inf", "nan", "1e308", "5e-324", "0", "-1", "9" * 400, "1" * 30, "one"]


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_too_odd(name: str, tmp_path: Path) -> None:
    # Without TLS, whose certificates would be read hundreds of times.
    plain = GOOD | {"DLR_SPOOL_DIR": str(tmp_path / "spool"), "DLR_IOVOX_URL": "http://127.0.0.1"}
    for value in EXTREMES:
        env = plain | {variable(name): value}
        with environment(env), unchanged_logging():
            try:
                Runtime(checked_settings(CHECKS_TO_RECEIVE))
            except ConfigurationError as error:
                assert variable(name) in error.detail  # noqa: PT017


def test_the_good_settings_are_good_and_show_no_secret(tmp_path: Path) -> None:
    with environment(GOOD | {"DLR_SPOOL_DIR": str(tmp_path / "spool")}), unchanged_logging():
        shown = repr(checked_settings(CHECKS_TO_RECEIVE))
    assert "sms.example.com" in shown
    for secret in SECRETS:
        assert secret not in shown


def test_the_process_ends_like_that(tmp_path: Path) -> None:
    done = run_dlr(["serve"], {"DLR_KEY_RATE": "fast"}, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert named_in(done.stderr) == {"DLR_KEY_RATE", *map(variable, NEEDED_TO_SERVE)}
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("DLR_IOVOX_RAET", "DLR_IOVOX_RATE"),
        ("DLR_IOVOXRATE", "DLR_IOVOX_RATE"),
        ("DLR_IOVOX_RATES", "DLR_IOVOX_RATE"),
        ("dlr_iovox_ratte", "DLR_IOVOX_RATE"),
        ("DLR_SPOL_DIRS", "DLR_SPOOL_DIR"),
        ("DLR_KEYRAET", "DLR_KEY_RATE"),
        ("DLR_DOC", "DLR_DOCS"),
    ],
)
@pytest.mark.parametrize("words", [["serve", "--port", "0"], ["worker"], ["keys", "list"]])
def test_a_typing_error_stops_the_start(words: list[str], wrong: str, meant: str) -> None:
    done = dlr(words, GOOD | {wrong: "hunter2"})
    assert (done.returncode, done.stdout) == (2, "")
    assert named_in(done.stderr) == {meant}
    assert wrong in done.stderr
    assert "hunter2" not in done.stderr


def test_of_a_needed_one_too() -> None:
    env = {name: value for name, value in GOOD.items() if name != "DLR_PUBLIC_URL"}
    done = dlr(["worker"], env | {"DLR_PUBLIC_ULR": "https://sms.example.com"})
    assert done.returncode == 2
    assert named_in(done.stderr) == {"DLR_PUBLIC_URL"}
    assert "DLR_PUBLIC_ULR is" in done.stderr


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ({"DLR_LOG_COLOUR": "red"}, ["DLR_LOG_COLOUR"]),
        ({"DLR_IOVOX_RAET": "5", "DLR_IOVOX_RATE": "5"}, ["DLR_IOVOX_RAET"]),
        ({"DLR_API_URL": "x", "DLR_API_KEY": "x", "DLR_TEST_LONG": "1", "dlr_iovox_rate": "5"}, []),
    ],
)
def test_what_is_not_known_is_warned_of(
    more: dict[str, str], warned: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        environment(GOOD | {"DLR_SPOOL_DIR": str(tmp_path / "spool")} | more),
        unchanged_logging(),
    ):
        checked_settings(CHECKS_TO_RECEIVE)
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["variable"] for one in said if one["event"] == "setting_unknown"] == warned


def test_the_commands_warn_of_it_too(sqlite_url: str) -> None:
    done = dlr(["keys", "list"], {"DLR_DATABASE_URL": sqlite_url, "DLR_LOG_COLOUR": "red"})
    assert (done.returncode, done.stdout) == (0, "Nothing to show.\n")
    assert done.stderr == "Warning: DLR_LOG_COLOUR is not known and has no effect.\n"
