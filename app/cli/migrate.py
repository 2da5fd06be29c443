"""`dlr migrate`: the only thing that changes the schema of a PostgreSQL database."""

from __future__ import annotations

import typer

from app.cli.database import with_database
from app.settings import load
from app.store.schema import migrate as migrate_schema


def add_to(cli: typer.Typer) -> None:
    """Register the command."""
    cli.command(epilog="Example: DLR_DATABASE_URL=postgresql://dlr@db/dlr dlr migrate")(migrate)


def migrate() -> None:
    """Bring the database's schema up to date. Safe to run twice, or from two places."""
    with_database(load(), migrate_schema, is_migration=True)
    typer.echo("The schema is up to date.")
