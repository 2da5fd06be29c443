"""PostgreSQL as it is run: behind a pooler, with standbys, with certificates."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.fixtures import Server, shared_database_of
from tests.support.pgbouncer import PgBouncer

POOLED = {"database_pooler": "transaction"}
"""The setting for a service behind pgbouncer."""
POOLER_IN_ENVIRONMENT = {"DLR_DATABASE_POOLER": "transaction"}


@pytest.fixture(scope="module")
def pgbouncer(postgres_server: Server) -> Iterator[PgBouncer]:
    """In transaction mode, as it is installed: start-up parameters are refused."""
    with PgBouncer(postgres_server.url()) as running:
        yield running


@pytest.fixture(scope="module", params=[pytest.param("postgresql", marks=pytest.mark.postgresql)])
def direct_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A migrated database for a whole module, without the pooler."""
    yield from shared_database_of(request, tmp_path_factory)


@pytest.fixture(scope="module")
def shared_url(pgbouncer: PgBouncer, direct_url: str) -> str:
    """The same through the pooler."""
    return pgbouncer.through(direct_url)
