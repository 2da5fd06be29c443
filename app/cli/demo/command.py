"""`dlr demo`: sends the scenarios' texts and judges what the service says became of them."""

from __future__ import annotations

import signal
import sys
import time
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.rule import Rule
from rich.text import Text

from app.cli.demo.receivers import receivers
from app.cli.demo.scenarios import SCENARIOS, judge
from app.cli.demo.servers import Servers
from app.cli.demo.stage import AUTH_HEADER, ORIGIN, Run, Stage, follow, play, set_up, write_history
from app.cli.history import headline, history_table
from app.cli.output import console as terminal
from app.cli.service import client_errors

WIDTH_WITHOUT_TERMINAL = 112


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: dlr demo --keep, and try the lines that it prints")(demo)


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave it running afterwards, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the whole service against a simulated iovox, and check what it says."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    started_at = time.monotonic()
    console = terminal(width=WIDTH_WITHOUT_TERMINAL)
    with client_errors(), Servers() as servers:
        try:
            stage, run = _perform(servers, console)
        except Exception:
            console.print(servers.logs(), markup=False, highlight=False)
            raise
        good = report(console, run)
        seconds = time.monotonic() - started_at
        console.print(_verdict(good, seconds))
        if keep:
            _keep(console, stage, run)
    raise typer.Exit(0 if good == len(SCENARIOS) else 1)


def _perform(servers: Servers, console: Console) -> tuple[Stage, Run]:
    expected = sum(scenario.receipts for scenario in SCENARIOS)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("receipts"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("setting up", total=expected)

        def say(words: str) -> None:
            bar.console.print(f"  {time.strftime('%H:%M:%S')}  {words}", highlight=False)

        stage = set_up(servers, say)
        bar.update(task, description="sending")
        run = play(stage, say)
        bar.update(task, description="receiving")
        follow(stage, run, say, lambda count: bar.update(task, completed=count))
    return stage, run


def report(console: Console, run: Run) -> int:
    """Print every history and its verdict; answers how many are what they should be."""
    good = 0
    for scenario in SCENARIOS:
        message = run.messages[scenario.name]
        faults = judge(scenario, run.sent[scenario.name].status, message)
        console.print()
        console.print(Rule(Text(scenario.name, style="bold"), align="left"))
        console.print(Text(f"to {scenario.destination}: {scenario.story}"))
        console.print(headline(message))
        console.print(history_table(message, width=console.width))
        if not faults:
            console.print(Text("✔ as it should be", style="green"))
        for fault in faults:
            console.print(Text(f"✘ {fault}", style="red"))
        good += not faults
    return good


def _verdict(good: int, seconds: float) -> Text:
    words = f"\n{good} of {len(SCENARIOS)} histories are what they should be, in {seconds:.1f} s"
    return Text(words, style="bold green" if good == len(SCENARIOS) else "bold red")


def _keep(console: Console, stage: Stage, run: Run) -> None:
    console.print("\nWriting two weeks of texts for the console ...")
    with receivers() as url:
        _stay(console, stage, run, sign_in=write_history(stage, url))


def _stay(console: Console, stage: Stage, run: Run, *, sign_in: str) -> None:
    lines = _lines_to_try(stage, run)
    console.print("\nThe console, for people. What became of the text to 07700 900123 yesterday?\n")
    console.print(f"{stage.service}/console", markup=False, highlight=False, soft_wrap=True)
    console.print(f"Sign in with the API key {sign_in}", markup=False, highlight=False)
    console.print("\nIt is still running. To try, in another terminal:\n")
    console.print(lines, markup=False, highlight=False, soft_wrap=True)
    console.print("\nCtrl-C ends it and deletes everything.")
    sys.stdout.flush()
    try:
        while stage.servers.all_run:
            time.sleep(0.5)
    except KeyboardInterrupt:
        console.print("Ending.")


def _lines_to_try(stage: Stage, run: Run) -> str:
    url, bearer = stage.service, f"-H 'Authorization: Bearer {stage.key}'"
    first = run.messages[SCENARIOS[0].name]
    body = f'{{"origin": "{ORIGIN}", "destination": "447700900100", "message": "Hello"}}'
    receipt = (
        f'{{"sms_activity_id": "{first.sms_activity_id}", "delivery_status": "delivery failure", '
        '"status_reason": "2", "receipt_timestamp": "2026-05-06 18:37:46", "status": "FAILED"}'
    )
    return "\n".join(
        (
            "# send; the last two digits of the destination choose what becomes of it (README)",
            f"curl -s {url}/v1/messages {bearer} -d '{body}'",
            "# what became of a message, by the id of the answer or by iovox's",
            f"curl -s {url}/v1/messages/{first.id} {bearer}",
            "# play iovox: a receipt of your own",
            f"curl -i {url}/dlr -H '{AUTH_HEADER}: {stage.secret}' -d '{receipt}'",
            "# everything that the API offers",
            f"{url}/docs",
            "# or with the command",
            f"export DLR_API_URL={url} DLR_API_KEY={stage.key}",
            f".venv/bin/dlr status {first.id}",
        )
    )


def _end(number: int, _frame: object) -> NoReturn:
    sys.exit(128 + number)
