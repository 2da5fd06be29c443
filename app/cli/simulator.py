"""`dlr simulator`: a stand-in iovox to develop and test against."""

from __future__ import annotations

from typing import Annotated

import typer

from app.ops import logs
from app.simulator.behaviour import Behaviour
from app.simulator.chaos import FAULTS, read_chaos
from app.simulator.server import serve

FAULTS_IN_WORDS = "; ".join(f"{name}: {what}" for name, what in FAULTS.items())


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(
        epilog="Example: dlr simulator --port 8044 --chaos refuse=1%,slow=5%,lost=1%, and "
        "DLR_IOVOX_URL=http://127.0.0.1:8044"
    )(simulator)


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8044,
    chaos: Annotated[
        str,
        typer.Option(help=f"Faults by probability. {FAULTS_IN_WORDS}", metavar="FAULT=SHARE,..."),
    ] = "",
) -> None:
    """Run a stand-in iovox. The last two digits of the destination choose what happens.

    While it runs: POST /_simulator/behaviour {"chaos": {"refuse": 0.01}}.
    """
    try:
        behaviour = Behaviour(chaos=read_chaos(chaos))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--chaos") from None
    logs.configure(level="info", as_json=False)
    serve(host, port, behaviour=behaviour)
