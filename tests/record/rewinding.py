"""Databases that are set back to an earlier moment, under a running service or without one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from app.store.tables import metadata
from tests.support.postgresql import PostgresServer

TABLES = [table.name for table in metadata.sorted_tables]
TRIES = 10
SEQUENCE = "pg_get_serial_sequence('events', 'id')"


class Rewinder:
    """Keeps any number of moments of one database."""

    def keep(self) -> int:
        """Keep this moment; returns its number."""
        raise NotImplementedError

    def put_back(self, moment: int) -> None:
        """Set the database back to a moment."""
        raise NotImplementedError


class SqliteRewinder(Rewinder):
    """Puts a copy of the file back, in place of the one that may be open."""

    def __init__(self, url: str, folder: Path) -> None:
        self._path = Path(url.removeprefix("sqlite:///"))
        self._folder = folder
        self._kept = 0

    def keep(self) -> int:
        self._kept += 1
        with (
            closing(sqlite3.connect(self._path)) as there,
            closing(sqlite3.connect(self._copy(self._kept))) as copy,
        ):
            there.backup(copy)
        return self._kept

    def put_back(self, moment: int) -> None:
        new = self._path.with_suffix(".new")
        new.write_bytes(self._copy(moment).read_bytes())
        # First the log of the old file: SQLite would apply it to the new one.
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        new.replace(self._path)

    def _copy(self, moment: int) -> Path:
        return self._folder / f"moment-{moment}.db"


class PostgresRewinder(Rewinder):
    """Copies every table aside and back, in one transaction: the connections live on, and neither
    the server's start nor its timeline tells.
    """

    def __init__(self, server: PostgresServer, url: str) -> None:
        self._server = server
        self._database = urlsplit(url).path.removeprefix("/")
        self._kept = 0

    def keep(self) -> int:
        self._kept += 1
        name = f"moment_{self._kept}"
        lines = ["begin isolation level repeatable read", f"create schema {name}"]
        lines += [f"create table {name}.{table} as table public.{table}" for table in TABLES]
        lines.append(
            f"create table {name}.sequence as select pg_sequence_last_value({SEQUENCE}::regclass) n"
        )
        self._run([*lines, "commit"])
        return self._kept

    def put_back(self, moment: int) -> None:
        name = f"moment_{moment}"
        lines = ["begin", f"truncate {', '.join(TABLES)}"]
        lines += [f"insert into public.{table} table {name}.{table}" for table in TABLES]
        lines.append(
            f"select setval({SEQUENCE}, coalesce(n, 1), n is not null) from {name}.sequence"
        )
        self._run([*lines, "commit"])

    def _run(self, lines: list[str]) -> None:
        for _ in range(TRIES):
            try:
                self._server.execute("; ".join(lines), database=self._database)
            except RuntimeError as error:
                if "deadlock" not in str(error):
                    raise
            else:
                return
        raise RuntimeError("a deadlock with the running service again and again")
