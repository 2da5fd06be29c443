"""DLR_DATABASE_URL, as an operator wrote it: an SQLite file, or PostgreSQL with libpq's parameters.

asyncpg reads libpq's parameters itself, but sends one that it does not know to the server as a
setting, so all of them are checked here. No error, and no name, has the password.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from inspect import getfullargspec
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import asyncpg
from asyncpg.connect_utils import _parse_connect_dsn_and_args
from sqlalchemy import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from app.store.connections.service_file import parameters_of_service

CONNECT_TIMEOUT = 3.0
"""Seconds to connect to the only host."""
CONNECT_TIMEOUT_EACH = 1.0
"""Seconds to connect to each of several hosts: the first may be gone, and silent."""
LONGEST_CONNECT_TIMEOUT = 30
LARGEST_PORT = 65_535

_FILES = ("passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl")
_PARAMETERS = frozenset(
    {
        *_FILES,
        "host",
        "port",
        "dbname",
        "user",
        "password",
        "service",
        "sslmode",
        "sslpassword",
        "sslnegotiation",
        "ssl_min_protocol_version",
        "ssl_max_protocol_version",
        "target_session_attrs",
        "krbsrvname",
        "gsslib",
        "application_name",
        "options",
        "connect_timeout",
    }
)
_WITHOUT_EFFECT = {
    "channel_binding": ("disable", "prefer"),
    "client_encoding": ("utf8",),
    "gssencmode": ("disable", "prefer"),
    "keepalives": ("1",),
    "load_balance_hosts": ("disable",),
    "sslcompression": ("0",),
    "sslsni": ("1",),
}
"""Parameters of libpq that asyncpg does not know, with the values that ask for what it does anyway:
these are left out."""
_TARGETS = ("any", "primary", "read-write")
_SYSTEM = (
    "sslrootcert=system: name the file of the system's authorities, such as "
    "/etc/ssl/certs/ca-certificates.crt, and sslmode=verify-full"
)


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """The path of an SQLite file."""

    url: URL
    file: Path

    @property
    def name(self) -> str:
        """For errors."""
        return f"SQLite file {self.file}"


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """A server, or several of which one takes writes. ``name`` is for errors, without the password.

    ``hosts`` are to be tried in this order, each for ``timeout`` seconds. It is empty where the DSN
    names a single host, or none: then asyncpg reads that from the DSN or the environment.
    """

    dsn: str = field(repr=False)  # it has the password
    name: str
    hosts: tuple[tuple[str, int], ...]
    timeout: float
    names_application: bool
    has_options: bool


def read_address(url: str) -> SqliteAddress | PostgresAddress:
    """The address in a URL. Raises ValueError that says what is wrong, without the password."""
    scheme, found, _ = url.partition("://")
    backend = scheme.partition("+")[0]
    if not found:
        raise ValueError("it is not a database URL")
    if backend == "sqlite":
        return _sqlite(url)
    if backend not in ("postgresql", "postgres"):
        raise ValueError("it must start with sqlite:/// or postgresql://")
    return _postgres(url)


def _sqlite(url: str) -> SqliteAddress:
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise ValueError("it is not a database URL") from None
    name = parsed.database
    if not name or name == ":memory:" or name.startswith("file:"):
        raise ValueError("it names no file, such as sqlite:///dlr.db: nothing is kept in memory")
    if parsed.query:
        raise ValueError("it has parameters behind its ?: SQLite takes a file alone")
    return SqliteAddress(parsed.set(drivername="sqlite+aiosqlite"), Path(name))


def _postgres(url: str) -> PostgresAddress:
    parameters = _checked_parameters(url)
    timeout = _connect_timeout(parameters.pop("connect_timeout", None))
    head = url.partition("?")[0].partition("://")[2]
    if head.find("/") == len(head) - 1:
        head = head.rstrip("/")  # asyncpg reads it as a database without a name
    dsn = f"postgresql://{head}" + (f"?{urlencode(parameters)}" if parameters else "")
    addresses, database = _parsed(dsn)
    hosts = tuple(each for each in addresses if isinstance(each, tuple))
    for _, port in hosts:
        if not 1 <= port <= LARGEST_PORT:
            raise ValueError(f"its port {port} is not one from 1 to {LARGEST_PORT}")
    if len(hosts) == len(addresses) > 1:
        if "target_session_attrs" not in parameters:
            # psql takes any host, but a standby refuses whatever a service writes.
            dsn += ("&" if parameters else "?") + "target_session_attrs=read-write"
    else:
        hosts = ()
    shown = ",".join(each if isinstance(each, str) else _joined(*each) for each in addresses)
    return PostgresAddress(
        dsn=dsn,
        name=f"PostgreSQL at {shown}, database {database}",
        hosts=hosts,
        timeout=timeout or (CONNECT_TIMEOUT_EACH if hosts else CONNECT_TIMEOUT),
        names_application="application_name" in parameters,
        has_options="options" in parameters,
    )


def _checked_parameters(url: str) -> dict[str, str]:
    """The parameters behind the question mark, and those of their service; without those that have
    no effect.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("its hosts cannot be read") from None
    if "#" in url or url.count("@") != parts.netloc.count("@") or url.count("@") > 1:
        # Otherwise the rest of a password behind its / or ? would be shown as something else.
        raise ValueError("special characters in the user or the password are percent-encoded")
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError("behind its ? is not parameter=value&parameter=value") from None
    parameters: dict[str, str] = {}
    in_url = _in_front(parts)
    for name, value in pairs:
        if name in parameters or name in in_url:
            raise ValueError(f"{name} is given twice")
        parameters[name] = value
    if service := parameters.pop("service", None):
        # What the URL says wins, as with psql.
        theirs = parameters_of_service(service)
        parameters = {
            name: value for name, value in theirs.items() if name not in in_url
        } | parameters
    if "port" in parameters and "host" in in_url:
        raise ValueError("port: write it behind the host, as in postgresql://host:port")
    parameters = {
        name: value
        for name, value in parameters.items()
        if value.lower() not in _WITHOUT_EFFECT.get(name, ())
    }
    for name, value in parameters.items():
        _check(name, value)
    return parameters


def _in_front(parts: SplitResult) -> set[str]:
    """The parameters that are given in front of the question mark."""
    user, _, hosts = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    ports = [each.rpartition("]")[2].partition(":")[2] for each in hosts.split(",")]
    found = {"user": name, "password": password, "host": hosts, "port": "".join(ports)}
    found["dbname"] = parts.path.removeprefix("/")
    return {name for name, value in found.items() if value}


def _check(name: str, value: str) -> None:
    if name in _WITHOUT_EFFECT:
        values = " or ".join(_WITHOUT_EFFECT[name])
        raise ValueError(
            f"{name} must be {values}, which is what the service does anyway: leave it out"
        )
    if name not in _PARAMETERS:
        raise ValueError(
            f"{name[:60]} is not a connection parameter that the service takes: leave it out. "
            "A setting of the server's is written options=-c%20name=value"
        )
    if not value:
        raise ValueError(f"{name} is empty")
    if name == "sslrootcert" and value == "system":
        raise ValueError(_SYSTEM)
    if name in _FILES and not Path(value).is_file():
        raise ValueError(f"{name}: there is no file {value}")
    if name == "target_session_attrs" and value not in _TARGETS:
        raise ValueError(f"{name} must be {' or '.join(_TARGETS)}: the service writes")


def _connect_timeout(text: str | None) -> float | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= LONGEST_CONNECT_TIMEOUT):
        raise ValueError(
            f"connect_timeout must be whole seconds from 1 to {LONGEST_CONNECT_TIMEOUT}"
        )
    return float(text)


def _parsed(dsn: str) -> tuple[list[str | tuple[str, int]], str]:
    """The addresses and the database as asyncpg reads them, which also checks other parameters."""
    nothing = dict.fromkeys(getfullargspec(_parse_connect_dsn_and_args).kwonlyargs)
    try:
        addresses, parameters = _parse_connect_dsn_and_args(**{**nothing, "dsn": dsn})
    except asyncpg.InterfaceError as error:
        said = str(error).partition("\n")[0]
        if said.startswith("root certificate"):
            said += ": sslrootcert names the one to verify the server by"
        raise ValueError(said) from None
    except ssl.SSLError as error:
        raise ValueError(f"its certificates cannot be used: {error.reason or error}") from None
    except OSError as error:
        raise ValueError(f"a file that it names cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, AttributeError):  # their texts may quote the URL
        raise ValueError("its hosts, ports or parameters cannot be read") from None
    return addresses, parameters.database


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
