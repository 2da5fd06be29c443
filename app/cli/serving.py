"""Runs the server and the worker, after a check of the settings and the database."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from functools import partial

import structlog
import typer
import uvicorn
from prometheus_client.multiprocess import mark_process_dead

from app.cli.configuration import settings_errors
from app.errors import ConfigurationError, StoreUnavailable, StoreUnsuitable
from app.ops import logs
from app.ops.metrics import SHARED
from app.receive.spool import Spool
from app.runtime.configured import (
    callback_headers,
    iovox_proxy,
    iovox_tls,
    open_database,
    sealer,
)
from app.runtime.runtime import COMPONENTS_SHARE, Runtime
from app.runtime.traces import require_extra
from app.server.hangups import on_hangup
from app.server.process import GracefulServer
from app.server.supervisor import Supervisor
from app.settings import (
    NEEDED_TO_SERVE,
    Settings,
    read,
    report,
    unknown_variables,
    variable,
)
from app.store.schema import migrate, require_current
from app.store.standbys import asynchronous_standbys

KEEP_ALIVE = 75
"""Seconds that idle connections are kept, so that the other side closes them: iovox documents no
retry, and a receipt that it sends on a connection that we are just closing is lost."""

log = structlog.get_logger(__name__)


def run_server(host: str, port: int, *, workers: int, no_workers: bool) -> None:
    """Serve until SIGTERM, with so many server processes. ``no_workers``: leave the queue and the
    webhooks to `dlr worker`.

    Raises ConfigurationError, SchemaBehind or StoreUnsuitable before anything listens.
    """
    settings = checked_settings(CHECKS_TO_RECEIVE)
    _check_address(host, port)
    asyncio.run(_check_database(settings))
    os.environ[variable("queue_workers")] = str(settings.queue_workers and not no_workers)
    config = uvicorn.Config(
        "app.main:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="app.server.complete_posts:CompletePostHttp",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `app.web.addresses` reads them; here they cost 10 % of a receipt
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, int(settings.shutdown_timeout * (1 - COMPONENTS_SHARE))),
    )
    if workers == 1:
        with settings_errors():  # the application reads them again
            GracefulServer(config).run()
        return
    with tempfile.TemporaryDirectory(prefix="dlr-metrics-") as folder:
        os.environ[SHARED] = folder  # where each process finds the metrics of all
        supervisor = Supervisor(
            config,
            workers=workers,
            stop_patience=settings.shutdown_timeout,
            on_death=partial(mark_process_dead, path=folder),
        )
        code = supervisor.run()
    raise typer.Exit(code)


def run_worker() -> None:
    """Send what is queued and deliver webhooks until SIGTERM. Raises as ``run_server`` does."""
    settings = checked_settings(_CHECKS)
    asyncio.run(_check_database(settings))
    asyncio.run(_work(Runtime(settings)))


def checked_settings(checks: Checks) -> Settings:
    """The settings that are needed. Raises one ConfigurationError that names every fault.

    ``checks``: what to look at beyond a setting's own form, by field.
    """
    settings, faults = read(needs=NEEDED_TO_SERVE)
    logs.configure(level=settings.log_level, as_json=settings.log_format == "json")
    for name in unknown_variables(os.environ):
        log.warning("setting_unknown", variable=name, consequence="it has no effect")
    reports = [report(faults)] if faults else []
    for name, check in checks.items():
        try:
            if name not in faults:
                check(settings)
        except ConfigurationError as error:
            reports.append(error.detail)
    if reports:
        raise ConfigurationError("\n".join(reports))
    return settings


def _check_spool(settings: Settings) -> None:
    spool = Spool(settings.spool_dir)
    spool.open()
    spool.close()


Checks = Mapping[str, Callable[[Settings], object]]
_CHECKS: Checks = {
    "database_url": open_database,
    "callback_url_headers": callback_headers,
    "iovox_proxy": iovox_proxy,
    "iovox_ca_file": iovox_tls,
    "encryption_key": sealer,
    "otlp_endpoint": require_extra,
}
CHECKS_TO_RECEIVE: Checks = {**_CHECKS, "spool_dir": _check_spool}


def _check_address(host: str, port: int) -> None:
    """Raises ConfigurationError where the port is taken: uvicorn would log it and exit."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(f"Cannot listen on {host} port {port}: {error.strerror}") from None


async def _check_database(settings: Settings) -> None:
    """Stop a start on a schema that is behind, and on a database that a setting keeps from being
    used; one without a database goes on, into the spool.
    """
    database = open_database(settings)
    try:
        if database.is_sqlite:
            await migrate(database)
        await require_current(database)
        if warning := await asynchronous_standbys(database):
            log.warning(
                "standbys_asynchronous",
                reason=warning,
                consequence="a failover may lose the last moments before it",
                remedy="set synchronous_standby_names (docs/operations.md, Failover)",
            )
    except StoreUnsuitable:
        raise
    except StoreUnavailable:
        pass
    finally:
        await database.close()


async def _work(runtime: Runtime) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    try:
        await runtime.start_worker()
        with on_hangup(runtime.secrets.request):
            async with runtime.listen_for_operators(with_spool=False):
                await told_to_stop.wait()
    finally:
        await runtime.stop()
