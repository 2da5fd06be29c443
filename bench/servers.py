"""The service and its rivals as processes, each started the way it would be run for real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import traffic
from tests.support.ports import free_port
from tests.support.process import ServerProcess, run_dlr

UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")


class Server:
    """One server under load, and the port it listens on."""

    def __init__(self, process: ServerProcess, port: int) -> None:
        self.process = process
        self.port = port


def serve(
    database_url: str,
    *,
    workers: int = 1,
    extra: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    cwd: Path | None = None,
    without: str | None = None,
) -> Server:
    """`dlr serve` against a migrated database, ``without`` one device of `bench.plain`."""
    port = free_port()
    env = {**service_environment(database_url, port), **(extra or {})}
    command = ["serve", "--port", str(port), "--workers", str(workers), *args]
    ready = f"http://127.0.0.1:{port}/readyz"
    if without is None:
        return Server(ServerProcess.start(command, env, ready, cwd=cwd), port)
    process = ServerProcess.start([without, *command], env, ready, cwd=cwd, module="bench.plain")
    return Server(process, port)


def rival(name: str, database_url: str = "", *, iovox: Server | None = None) -> Server:
    """One of bench/rivals."""
    port = free_port()
    command = [f"bench.rivals.{name}:app", "--port", str(port), *UVICORN]
    url = database_url.replace("postgresql://", "postgresql+asyncpg://")
    env = {"BENCH_DATABASE_URL": url}
    if iovox is not None:
        env |= {
            "BENCH_IOVOX_URL": f"http://127.0.0.1:{iovox.port}",
            "BENCH_IOVOX_USERNAME": traffic.IOVOX_USERNAME,
            "BENCH_IOVOX_SECURE_KEY": traffic.IOVOX_SECURE_KEY,
        }
    ready = f"http://127.0.0.1:{port}/healthz"
    return Server(ServerProcess.start(command, env, ready, module="uvicorn"), port)


def simulator() -> Server:
    """The stand-in iovox, which takes the time and the place of the real one."""
    port = free_port()
    ready = f"http://127.0.0.1:{port}/_simulator/behaviour"
    command = ["simulator", "--port", str(port)]
    return Server(ServerProcess.start(command, {}, ready), port)


def migrate(database_url: str) -> None:
    """Bring a database to the newest schema."""
    dlr(["migrate"], database_url)


def dlr(args: Sequence[str], database_url: str) -> str:
    """Run a `dlr` command that ends by itself; gives the last line it printed."""
    done = run_dlr(args, service_environment(database_url, 1))
    if done.returncode:
        raise RuntimeError(f"dlr {' '.join(args)} ended with {done.returncode}: {done.stderr}")
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def service_environment(database_url: str, port: int) -> dict[str, str]:
    """The settings of the service as the README has them."""
    return {
        "DLR_DATABASE_URL": database_url,
        "DLR_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "DLR_CALLBACK_URL_HEADERS": traffic.CALLBACK_HEADERS,
        "DLR_IOVOX_URL": "http://127.0.0.1:9",
        "DLR_IOVOX_USERNAME": traffic.IOVOX_USERNAME,
        "DLR_IOVOX_SECURE_KEY": traffic.IOVOX_SECURE_KEY,
    }
