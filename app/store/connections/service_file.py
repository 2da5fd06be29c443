"""psql's service file: connections by name, as in ``DLR_DATABASE_URL=postgresql:///?service=dlr``.

Read here and not by asyncpg, which silently ignores a service that it does not find, and parameters
in it that it does not know.
"""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from pathlib import Path

FILE = "pg_service.conf"


def parameters_of_service(name: str) -> dict[str, str]:
    """The connection parameters of a service, from the first file that has it.

    Raises ValueError that says which files were read, or which one cannot be.
    """
    looked_in = []
    for path in _files():
        looked_in.append(str(path))
        if path.is_file() and (parameters := _parameters_in(path, name)) is not None:
            return parameters
    raise ValueError(f"service: {name[:60]} is not in {' or '.join(looked_in)}")


def _files() -> Iterator[Path]:
    """The files that psql reads, in its order."""
    mine = os.environ.get("PGSERVICEFILE")
    yield Path(mine) if mine else Path.home() / f".{FILE}"
    if everyones := os.environ.get("PGSYSCONFDIR"):
        yield Path(everyones) / FILE


def _parameters_in(path: Path, name: str) -> dict[str, str] | None:
    file = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#",), default_section="", empty_lines_in_values=False
    )
    try:
        file.read_string(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"service: {path} cannot be read: {error.strerror}") from None
    except (configparser.Error, UnicodeError):  # its text may quote a password
        raise ValueError(f"service: {path} is not a file of [name] and parameter=value") from None
    if not file.has_section(name):
        return None
    parameters = dict(file.items(name))
    if "service" in parameters:
        raise ValueError(f"service: {name} in {path} names a service itself")
    return parameters
