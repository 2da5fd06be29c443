"""`dlr evidence`: makes keys, verifies documents, audits, co-signs and stamps the log.

``verify`` needs neither settings nor a service, and trusts nothing in the file that it reads.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from app.cli.evidence_database import run_audit, run_cosign, run_stamp
from app.cli.output import complain, harmless, print_json
from app.record.evidence.keys import read_verifier_keys, write_key
from app.record.evidence.note import SigningKey, VerifierKey
from app.record.evidence.report import NOT_SHOWN, Report
from app.record.evidence.verifying import LARGEST, verify

evidence = typer.Typer(
    no_args_is_help=True,
    help="What anybody can check without trusting us.",
    epilog="Example: dlr evidence verify message.json --key key.pub",
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


def add_to(cli: typer.Typer) -> None:
    """Register the commands."""
    cli.add_typer(evidence, name="evidence")


@evidence.command("keygen", epilog="Example: dlr evidence keygen sms.example.com/log log.key")
def make_key(
    name: Annotated[str, typer.Argument(help="The log's name, such as a URL without https://.")],
    file: Annotated[Path, typer.Argument(help="Where the private key goes; it must not exist.")],
) -> None:
    """Make a key that signs a log. Its public part is printed on the last line: give it to those
    who will verify, by another way than this service.
    """
    try:
        key = SigningKey.generate(name)
        write_key(file, key)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except OSError as error:
        complain(f"{file} cannot be made: {error.strerror}")
        raise typer.Exit(1) from None
    typer.echo(
        f"The key is in {file}: set DLR_EVIDENCE_KEY_FILE to that, and back it up.", err=True
    )
    typer.echo(str(key.verifier))


@evidence.command("verify", epilog="Example: dlr evidence verify evidence.json --key log.pub")
def verify_file(
    file: Annotated[Path, typer.Argument(help="The document, as the service sent it.")],
    key: Annotated[
        Path | None, typer.Option(help="Verifier keys that you were given, one a line.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that you have from before: its note.")
    ] = None,
    tsa: Annotated[
        Path | None, typer.Option(help="PEM certificates of the time stamping authority.")
    ] = None,
    witness: Annotated[
        Path | None, typer.Option(help="Keys of witnesses: one of them must have co-signed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a document proves, and what it cannot. Exit 0: verified; 1: not."""
    try:
        keys: list[VerifierKey] = read_verifier_keys(_bytes_of(key)) if key else []
        witnesses = _witnesses(witness) if witness else []
        note = _text_of(checkpoint) if checkpoint else None
        roots = _bytes_of(tsa) if tsa else None
        data = _bytes_of(file)
    except ValueError as error:
        complain(f"NOT VERIFIED: {error}")
        raise typer.Exit(1) from None
    report = verify(data, keys=keys, checkpoint=note, tsa=roots, witnesses=witnesses)
    _show(report, as_json=as_json)
    if not report.is_verified:
        raise typer.Exit(1)


@evidence.command("audit", epilog="Example: dlr evidence audit")
def audit_log(as_json: AsJson = False) -> None:
    """Go over the whole log against the database. Exit 0: all of it agrees; 1: it does not."""
    found = run_audit()
    if as_json:
        print_json(
            {
                "facts": found.facts,
                "receipts": found.receipts,
                "checkpoints": found.checkpoints,
                "purged": found.purged,
                "erased": found.erased,
                "findings": found.findings,
                "findings_left_out": found.left_out,
            }
        )
    else:
        for finding in found.findings:
            complain(finding)
        if found.left_out:
            complain(f"... and {found.left_out} more")
        typer.echo(
            f"{found.facts} facts and {found.checkpoints} checkpoints agree with the tree"
            if not found.findings
            else f"{found.facts} facts were audited"
        )
        typer.echo(
            f"{found.receipts} receipts were looked for in the log; {found.purged} rows were "
            f"purged and {found.erased} values removed, as its facts say"
        )
    if found.findings:
        raise typer.Exit(1)


@evidence.command(
    "cosign", epilog="Example: dlr evidence cosign checkpoint.txt --witness witness.pub"
)
def add_cosignature(
    file: Annotated[Path, typer.Argument(help="The note that came back from the witness.")],
    witness: Annotated[Path, typer.Option(help="The verifier keys of witnesses, one a line.")],
) -> None:
    """Add what a witness signed below a checkpoint of the log, if it is right: evidence shows it
    from then on.
    """
    try:
        keys, note = _witnesses(witness), _text_of(file)
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(1) from None
    typer.echo(run_cosign(note, keys))


@evidence.command("stamp", epilog="Example: dlr evidence stamp")
def stamp_newest() -> None:
    """Have the newest checkpoint stamped by DLR_EVIDENCE_TSA_URL now."""
    typer.echo(run_stamp())


def _witnesses(file: Path) -> list[VerifierKey]:
    keys = read_verifier_keys(_bytes_of(file))
    if not all(key.is_witness for key in keys):
        raise ValueError(f"{file}: the key of a witness is of type 4 (C2SP tlog-cosignature)")
    return keys


def _bytes_of(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None


def _text_of(file: Path) -> str:
    try:
        return _bytes_of(file).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{file} is no text") from None


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "verified": report.is_verified,
                "faults": report.faults,
                "holds": report.holds,
                "notes": report.notes,
                "not_shown": list(NOT_SHOWN),
                "sha256": report.digest,
            }
        )
        return
    for fault in report.faults:
        complain(f"FAULT: {fault}")
    for words in report.holds:
        typer.echo(f"holds: {harmless(words)}")
    for words in report.notes:
        typer.echo(f"note: {harmless(words)}")
    if report.is_verified:
        for words in NOT_SHOWN:
            typer.echo(f"not shown: {words}")
        typer.echo(f"SHA-256 of the document: {report.digest}")
        typer.echo("VERIFIED")
    else:
        complain("NOT VERIFIED")
