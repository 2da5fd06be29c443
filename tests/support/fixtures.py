"""Databases for tests: each test gets a fresh one, already migrated where ``migrate`` says how.

``TEST_DATABASE_URL`` names a PostgreSQL to use; without it each worker starts one of its own.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.external import ExternalPostgres
from tests.support.postgresql import PostgresServer

Server = PostgresServer | ExternalPostgres
Migrate = Callable[[str], None]


@pytest.fixture(scope="session")
def migrate() -> Migrate | None:
    """How to bring the database at a URL to the newest schema. To be overridden in a conftest."""
    return None


WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}
"""A commit is with the operating system before it is answered, and so outlives every kill of a
process. fsync is for the end of the machine, which no test plays, and costs time at each commit.
"""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The worker's PostgreSQL. Who stops, kills or pauses it asks for ``own_postgres`` instead."""
    url = os.environ.get("TEST_DATABASE_URL")
    server: Server = ExternalPostgres(url) if url else PostgresServer(settings=WITHOUT_FSYNC)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Server, migrate: Migrate | None) -> str | None:
    """A migrated database to copy from: copying takes a fraction of migrating."""
    return _template(postgres_server, migrate)


@pytest.fixture(scope="session")
def sqlite_template(
    tmp_path_factory: pytest.TempPathFactory, migrate: Migrate | None
) -> Path | None:
    """A folder with a migrated SQLite database."""
    if migrate is None:
        return None
    folder = tmp_path_factory.mktemp("sqlite-template")
    migrate(f"sqlite:///{folder / 'dlr.db'}")
    return folder


@pytest.fixture
def postgres_url(postgres_server: Server, postgres_template: str | None) -> Iterator[str]:
    """A fresh database on PostgreSQL."""
    yield from _database(postgres_server, postgres_template)


@pytest.fixture
def empty_postgres_url(postgres_server: Server) -> Iterator[str]:
    """A database on PostgreSQL with nothing in it, for tests of the migrations themselves."""
    yield from _database(postgres_server, None)


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path | None) -> str:
    """A fresh SQLite database."""
    if sqlite_template is not None:
        shutil.copytree(sqlite_template, tmp_path, dirs_exist_ok=True)
    return f"sqlite:///{tmp_path / 'dlr.db'}"


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """Where a SQLite database will be."""
    return f"sqlite:///{tmp_path / 'empty.db'}"


BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database: the test runs once on SQLite and once on PostgreSQL."""
    name = "postgres_url" if request.param == "postgresql" else "sqlite_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(scope="module", params=BOTH)
def shared_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A migrated database for a whole module, on SQLite and on PostgreSQL."""
    yield from shared_database_of(request, tmp_path_factory)


def shared_database_of(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """For a fixture of a module that has its own database, with BOTH for its params."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("shared")
        shutil.copytree(request.getfixturevalue("sqlite_template"), folder, dirs_exist_ok=True)
        yield f"sqlite:///{folder / 'dlr.db'}"
    else:
        template = request.getfixturevalue("postgres_template")
        yield from _database(request.getfixturevalue("postgres_server"), template)


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """Like ``database_url``, before any migration."""
    name = "empty_postgres_url" if request.param == "postgresql" else "empty_sqlite_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
def own_postgres(postgres_server: Server) -> Iterator[PostgresServer]:
    """The worker's PostgreSQL, for a test that may stop, kill, pause or restart it.

    It runs again for whoever comes next.
    """
    if not isinstance(postgres_server, PostgresServer):
        pytest.skip("needs to kill PostgreSQL, and TEST_DATABASE_URL names somebody else's")
    try:
        yield postgres_server
    finally:
        postgres_server.resume()
        postgres_server.start()


def _template(server: Server, migrate: Migrate | None) -> str | None:
    if migrate is None:
        return None
    url = server.create_database()
    migrate(url)
    return _name(url)


def _database(server: Server, template: str | None) -> Iterator[str]:
    server.start()
    url = server.create_database(template=template)
    try:
        yield url
    finally:
        server.start()
        server.drop_database(_name(url))


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
