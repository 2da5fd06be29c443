"""A server process is waited for, measured, killed with all it started, and cleaned up after."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.support.process import PROJECT, ServerProcess, free_port, run_dlr
from tests.support.processes import ended, wait_until

# A stand-in for the real command: `python -m` looks in the current folder first.
CLI = """
    import http.server, os, signal, subprocess, sys, time
    word, *rest = sys.argv[1:]
    print("said", word, os.environ.get("DLR_SPOOL_DIR"), os.environ.get("DLR_LEAKED"), os.getcwd())
    if word == "fail":
        sys.exit("no callback secret is set")
    if word == "hang":
        time.sleep(60)
    if word == "chatter":
        print("x" * 5_000_000)
    if word == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if word == "orderly":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    if word == "parent":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print("child", child.pid)
    if word != "end":
        http.server.HTTPServer(("127.0.0.1", int(rest[0])), type("Handler", (
            http.server.BaseHTTPRequestHandler,), {
                "do_GET": lambda self: (self.send_response(200), self.end_headers())})
        ).serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "cli.py").write_text(textwrap.dedent(CLI))
    return tmp_path


def start(folder: Path, word: str, **env: str) -> ServerProcess:
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"
    return ServerProcess.start([word, str(port)], env, url, 10, cwd=folder)


def test_is_ready_when_it_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_LEAKED", "from the developer's shell")
    with start(folder, "orderly", DLR_SPOOL_DIR="here") as server:
        assert f"said orderly here None {folder}" in server.output()
        assert server.cpu_seconds() > 0
        assert server.peak_memory_bytes() > 1_000_000
        assert server.terminate() == 7
        assert server.cpu_seconds() > 0
        assert not server.running


def test_a_kill_takes_the_children_too(folder: Path) -> None:
    with start(folder, "parent") as server:
        line = next(each for each in server.output().splitlines() if each.startswith("child"))
        child = psutil.Process(int(line.split()[1]))
        server.kill()
        assert not server.running
        assert ended(child)


def test_children_that_outlive_their_parent_are_ended_too(folder: Path) -> None:
    with start(folder, "parent") as server:
        line = next(each for each in server.output().splitlines() if each.startswith("child"))
        child = psutil.Process(int(line.split()[1]))
        server.terminate()
        assert not ended(child)
    assert wait_until(lambda: ended(child), timeout=5)


def test_much_output_does_not_block_it(folder: Path) -> None:
    with start(folder, "chatter") as server:
        assert len(server.output()) > 5_000_000


def test_an_early_end_is_raised_with_the_output(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ended with 1:\n(.|\n)*no callback secret is set"):
        start(folder, "fail")


def test_never_getting_ready_is_raised_and_leaves_nothing(folder: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no 200 from .*\n(.|\n)*said hang"):
        ServerProcess.start(["hang"], {}, f"http://127.0.0.1:{free_port()}/", 1.0, cwd=folder)


def test_one_that_ignores_sigterm_is_killed_and_raised(folder: Path) -> None:
    with start(folder, "stubborn") as server:
        with pytest.raises(RuntimeError, match=r"still there 0\.3 s after SIGTERM"):
            server.terminate(timeout=0.3)
        assert not server.running


def test_paused_it_answers_nothing_and_can_be_killed(folder: Path) -> None:
    with start(folder, "orderly") as server:
        server.pause()
        process = psutil.Process(server.pid)
        assert wait_until(lambda: process.status() == psutil.STATUS_STOPPED, timeout=5)
        server.resume()
        server.pause()
        server.kill()
        assert not server.running


def test_a_command_that_ends_by_itself(folder: Path) -> None:
    done = run_dlr(["end"], {"DLR_SPOOL_DIR": "there"}, cwd=folder)
    assert done.returncode == 0
    assert "said end there" in done.stdout
    assert run_dlr(["fail"], cwd=folder).returncode == 1


@pytest.mark.crash
def test_ends_with_the_process_that_started_it(folder: Path) -> None:
    script = (
        "import os, pathlib, sys; from tests.support.process import ServerProcess, free_port;"
        "port = free_port(); url = f'http://127.0.0.1:{port}/';"
        "s = ServerProcess.start(['parent', str(port)], {}, url, cwd=pathlib.Path(sys.argv[1]));"
        "print(s.pid, s.output().split('child ')[1].split()[0], flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    numbers = [int(word) for word in done.stdout.split()]
    assert len(numbers) == 2
    assert wait_until(lambda: not any(map(lives, numbers)), timeout=10)


def lives(pid: int) -> bool:
    try:
        return not ended(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def test_free_ports_are_not_the_kernels_own() -> None:
    assert all(10_000 <= free_port() <= 65_535 for _ in range(20))
