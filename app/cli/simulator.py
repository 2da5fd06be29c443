"""`dlr simulator`: a stand-in iovox to develop and test against."""

from __future__ import annotations

from typing import Annotated

import typer

from app.ops import logs
from app.simulator.server import serve


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(
        epilog="Example: dlr simulator --port 8044, and DLR_IOVOX_URL=http://127.0.0.1:8044"
    )(simulator)


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8044,
) -> None:
    """Run a stand-in iovox. The last two digits of the destination choose what happens."""
    logs.configure(level="info", as_json=False)
    serve(host, port)
