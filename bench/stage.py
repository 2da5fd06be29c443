"""What every scenario is given: a PostgreSQL, how long to measure, where to say what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from bench import servers
from bench.measure import Figures
from bench.population import Population, populate
from tests.support.postgresql import PostgresServer

SMALL = 10_000
"""Receipts in the table that the big one is compared with."""

KNOWN = 20_000
"""Messages whose receipts are still to come, for each window that sends them."""


@dataclass(slots=True)
class Stage:
    """``seconds`` a window, ``rounds`` of them; ``quick`` asks for small tables as well.

    ``big``: receipts in the big table. ``found``: what earlier scenarios of this run measured.
    """

    postgres: PostgresServer
    seconds: float
    rounds: int
    quick: bool
    big: int
    say: Callable[[str], None] = lambda _: None
    found: dict[str, Figures] = field(default_factory=dict)
    _populations: dict[int, Population] = field(default_factory=dict)
    _template: str = ""

    def migrated_database(self) -> str:
        """A new database with the final schema; gives its name."""
        if not self._template:
            url = self.postgres.create_database()
            servers.migrate(url)
            self._template = name_of(url)
        return name_of(self.postgres.create_database(template=self._template))

    def populated(self, receipts: int) -> Population:
        """A database with so many receipts and the messages they are of; made once a run."""
        if receipts not in self._populations:
            known = KNOWN * (self.rounds if receipts > SMALL else 1)
            self._populations[receipts] = populate(
                self.postgres, self.migrated_database(), receipts, known, self.say
            )
        return self._populations[receipts]


def name_of(url: str) -> str:
    """The database that a URL names."""
    return urlsplit(url).path.removeprefix("/")
