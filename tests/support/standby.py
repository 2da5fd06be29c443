"""A standby of a test's PostgreSQL: a copy that follows it, and takes over when it is promoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support import processes
from tests.support.postgresql import SUPERUSER, PostgresServer

NAME = "standby"
CATCH_UP_SECONDS = 30.0
PROMOTE_SECONDS = 30.0


class Standby(PostgresServer):
    """Made of ``primary``, which runs, by pg_basebackup at its first start."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__()
        self._primary = primary
        if not (self._binaries / "pg_basebackup").exists():
            self.close()
            pytest.skip("needs pg_basebackup, which a wheel's PostgreSQL has not")

    def promote(self) -> None:
        """Takes writes on return."""
        self.execute(f"select pg_promote(wait_seconds => {PROMOTE_SECONDS:.0f})")
        processes.wait_until(lambda: not self.is_standby, timeout=PROMOTE_SECONDS)

    @property
    def is_standby(self) -> bool:
        """Whether it takes no writes."""
        return self.execute("select pg_is_in_recovery()") == "t"

    def _initialise(self) -> None:
        source = f"host=127.0.0.1 port={self._primary.port} user={SUPERUSER}"
        self._run(
            "pg_basebackup",
            *("-D", str(self.data), "-d", f"{source} application_name={NAME}"),
            *("-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )


class Cluster:
    """A primary and its standby. No name follows the primary: clients are told of both."""

    def __init__(self) -> None:
        self.primary = PostgresServer()
        self.standby = Standby(self.primary)

    def start(self, *, synchronous: bool) -> None:
        """Both run, and the standby has what the primary has."""
        self.primary.start()
        self.standby.start()
        if synchronous:
            self.primary.execute(f"alter system set synchronous_standby_names = '{NAME}'")
            self.primary.execute("select pg_reload_conf()")
        self.wait_until_followed(synchronous=synchronous)

    def wait_until_followed(self, *, synchronous: bool) -> None:
        """Returns when the standby streams, and commits wait for it or not."""
        wanted = "sync" if synchronous else "async"
        if not processes.wait_until(
            lambda: self._followed_as() == wanted, timeout=CATCH_UP_SECONDS, every=0.1
        ):
            raise RuntimeError(f"the standby does not follow:\n{self.standby.log()[-4000:]}")

    def url(self, database: str, *, words: str = "target_session_attrs=read-write") -> str:
        """Both hosts, as an operator writes them."""
        hosts = f"127.0.0.1:{self.primary.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://{SUPERUSER}@{hosts}/{database}" + (f"?{words}" if words else "")

    def close(self) -> None:
        """Ends both and deletes them."""
        self.standby.close()
        self.primary.close()

    def _followed_as(self) -> str:
        query = "select sync_state from pg_stat_replication where state = 'streaming'"
        return self.primary.execute(query)


@contextmanager
def cluster(*, synchronous: bool) -> Iterator[Cluster]:
    """A primary and a standby that follows it."""
    both = Cluster()
    try:
        both.start(synchronous=synchronous)
        yield both
    finally:
        both.close()
