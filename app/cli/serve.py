"""`dlr serve` and `dlr worker`: the processes that an operator keeps running.

What they do is in `app.cli.serving`, which imports the whole service: `--help` goes without it.
"""

from __future__ import annotations

from typing import Annotated

import typer


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.command(epilog="Example: DLR_PUBLIC_URL=https://sms.example.com ... dlr serve --port 8080")(
        serve
    )
    cli.command(epilog="Example: dlr worker, beside any number of `dlr serve --no-workers`")(worker)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8080,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Server processes.")] = 1,
    no_workers: Annotated[
        bool,
        typer.Option("--no-workers", help="Leave what is queued, and webhooks, to `dlr worker`."),
    ] = False,
) -> None:
    """Run the service: the API for your apps, and /dlr for iovox."""
    from app.cli.serving import run_server  # noqa: PLC0415  see above

    run_server(host, port, workers=workers, no_workers=no_workers)


def worker() -> None:
    """Send what is queued and deliver webhooks, without taking requests, until SIGTERM."""
    from app.cli.serving import run_worker  # noqa: PLC0415  see above

    run_worker()
