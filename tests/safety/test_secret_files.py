"""Secrets from files, and read again on SIGHUP, which never ends a process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from app.settings import SECRETS, SettingsError, load, read_secrets_again, variable
from tests.cli.here import dlr, environment
from tests.receive.serving import AUTH_HEADER, body
from tests.receive.serving import environment as settings_of
from tests.support.ports import free_port
from tests.support.process import ServerProcess
from tests.support.processes import wait_until

OLD, NEW = "the-s3cret-of-before", "the-s3cret-of-today"
PATIENCE = 15.0


def header(secret: str) -> str:
    return f"Content-Type: application/json,{AUTH_HEADER}: {secret}\n"


@pytest.fixture
def files(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    """Settings whose secrets are files."""
    settings = settings_of(sqlite_url, DLR_SPOOL_DIR=str(tmp_path / "s"))
    del settings["DLR_CALLBACK_PREVIOUS_SECRETS"]
    for name in ("DLR_CALLBACK_URL_HEADERS", "DLR_IOVOX_SECURE_KEY"):
        path = tmp_path / name
        path.write_text(f"{settings.pop(name)}\n")
        settings[f"{name}_FILE"] = str(path)
    (tmp_path / "DLR_CALLBACK_URL_HEADERS").write_text(header(OLD))
    return settings


def test_every_secret_can_be_a_file(tmp_path: Path) -> None:
    values = {
        "database_url": "sqlite:///dlr.db",
        "callback_url_headers": "Content-Type: application/json,X-Custom-Header: x",
    }
    env = {}
    for name in SECRETS:
        (tmp_path / name).write_text(values.get(name, "something") + "\r\n")
        env[variable(name) + "_FILE"] = str(tmp_path / name)
    assert {"database_url", "iovox_secure_key", "iovox_proxy", "encryption_key"} <= {*SECRETS}
    with environment(env):
        settings = load()
    for name in SECRETS:
        value = getattr(settings, name)
        plain = value if isinstance(value, str) else value.get_secret_value()
        assert plain == values.get(name, "something")


@pytest.mark.parametrize("fault", ["missing", "empty", "folder", "binary", "both"])
def test_a_file_that_is_no_use_stops_the_start_and_is_named(
    files: dict[str, str], tmp_path: Path, fault: str
) -> None:
    bad = tmp_path / "bad"
    if fault == "empty":
        bad.write_text("\n")
    elif fault == "folder":
        bad.mkdir()
    elif fault == "binary":
        bad.write_bytes(b"\xff\xfe\xff")
    elif fault == "both":
        bad.write_text("fine")
        files["DLR_IOVOX_SECURE_KEY"] = "another"
    done = dlr(["serve"], files | {"DLR_IOVOX_SECURE_KEY_FILE": str(bad), "DLR_PUBLIC_URL": "x"})
    assert done.returncode == 2
    assert "DLR_IOVOX_SECURE_KEY" in done.stderr
    assert "DLR_PUBLIC_URL" in done.stderr  # every fault at once
    assert "Traceback" not in done.stderr


def test_a_misspelt_name_of_a_file_stops_the_start(tmp_path: Path) -> None:
    with (
        environment({"DLR_IOVOX_SECURE_KEY_FIEL": "/x"}),
        pytest.raises(SettingsError, match=r"DLR_IOVOX_SECURE_KEY: is not set, but .*_FIEL is"),
    ):
        load()


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_what_cannot_be_read_keeps_its_old_value(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "key"
    file.write_text("before")
    with environment({"DLR_IOVOX_SECURE_KEY_FILE": str(file), "DLR_LOG_LEVEL": "debug"}):
        settings = load()
        file.unlink()
        if content is not None:
            file.write_text(content)
        again, wrong = read_secrets_again(settings)
    assert again == settings
    assert list(wrong) == ["DLR_IOVOX_SECURE_KEY_FILE"]
    assert "before" not in str(wrong)


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def service(files: dict[str, str], request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    port = free_port()
    words = ["serve", "--port", str(port), "--workers", str(request.param)]
    with ServerProcess.fork(words, files) as process:
        process.url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        process.count = request.param  # type: ignore[attr-defined]
        if request.param > 1:
            hang_up_while_it_starts(process)
        process.wait_ready(f"http://127.0.0.1:{port}/healthz", timeout=60)
        assert wait_until(lambda: started(process) == request.param, timeout=PATIENCE)
        yield process


def hang_up_while_it_starts(process: ServerProcess) -> None:
    """Again and again, which ends no process: nor the workers that it is starting."""
    # From when the command has begun to run: before, there is nobody to hold a signal back.
    status = Path(f"/proc/{process.pid}/status")
    assert wait_until(lambda: holds_hangups(status.read_text()), timeout=PATIENCE)
    for _ in range(40):
        everyone = [process.pid, *(c.pid for c in psutil.Process(process.pid).children())]
        for pid in everyone[:1] if started(process) < 2 else everyone:
            os.kill(pid, signal.SIGHUP)
        wait_until(lambda: not process.running, timeout=0.05)


def started(process: ServerProcess) -> int:
    return process.output().count("Application startup complete")


def receipt(process: ServerProcess, secret: str) -> int:
    """By a connection of its own, so that any of the workers may take it."""
    url: str = process.url  # type: ignore[attr-defined]
    headers = {AUTH_HEADER: secret}
    return httpx.post(
        f"{url}/dlr", content=body("an-id", "DELIVERED"), headers=headers, trust_env=False
    ).status_code


def hang_up(process: ServerProcess, *, times: int = 1) -> None:
    """SIGHUP to the process that an operator knows; returns when all have read again."""
    before = process.output().count("secrets_read_again")
    os.kill(process.pid, signal.SIGHUP)
    wanted = before + process.count  # type: ignore[attr-defined]
    assert wait_until(
        lambda: process.output().count("secrets_read_again") >= wanted, timeout=PATIENCE
    ), process.output()


def test_a_hangup_reads_secrets_again_in_every_process(
    service: ServerProcess, files: dict[str, str]
) -> None:
    file = Path(files["DLR_CALLBACK_URL_HEADERS_FILE"])
    assert (receipt(service, OLD), receipt(service, NEW)) == (200, 401)
    file.write_text(header(NEW))
    hang_up(service)

    def all_know() -> bool:  # those of the start may still be answered
        return all((receipt(service, OLD), receipt(service, NEW)) == (401, 200) for _ in range(6))

    assert wait_until(all_know, timeout=PATIENCE)
    assert "callback_secret_dropped" in service.output()
    for wrong in ("", "no header at all"):
        file.write_text(wrong)
        hang_up(service)
        assert wait_until(lambda: "secret_kept" in service.output(), timeout=PATIENCE)
        assert receipt(service, NEW) == 200
    file.unlink()
    hang_up(service)
    assert receipt(service, NEW) == 200
    assert OLD not in service.output()
    assert NEW not in service.output()
    assert "worker_died" not in service.output()
    assert service.terminate() in (0, -signal.SIGTERM)


def holds_hangups(status: str) -> bool:
    """Whether SIGHUP is blocked or handled, as the kernel sees it."""
    masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    return bool((int(masks["SigBlk"], 16) | int(masks["SigCgt"], 16)) & 1)


def test_a_worker_reads_them_too(files: dict[str, str]) -> None:
    done = ServerProcess.fork(["worker"], files)
    with done as worker:
        assert wait_until(lambda: "database_up" in worker.output(), timeout=PATIENCE)
        Path(files["DLR_IOVOX_SECURE_KEY_FILE"]).write_text("an0ther-key")
        os.kill(worker.pid, signal.SIGHUP)
        assert wait_until(lambda: "secrets_read_again" in worker.output(), timeout=PATIENCE)
        assert '"iovox_secure_key"' in worker.output()
        assert "an0ther-key" not in worker.output()
        assert worker.terminate() == 0
