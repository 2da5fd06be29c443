"""What a release makes of a schema, by the rows that migrations leave; what migrations declare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from app.errors import SchemaBehind, SchemaUnusable
from app.store.engine import Database
from app.store.migrating import scripts
from app.store.releases import NOT_SAID, Release, Standing, announce_going_back, judge, revisions
from app.store.schema import migrate, require_current
from app.store.writable import require_writable

KNOWN = ["1", "2", "3"]


def release(number: int, compatible_from: int = 1, *, applied: bool = True) -> Release:
    breaking = f"because of {number}" if compatible_from > 1 else None
    return Release(str(number), number, compatible_from, breaking, applied)


UP_TO_3 = [release(1), release(2), release(3)]
CASES: dict[str, tuple[str | None, list[Release], Standing]] = {
    "nothing": (None, [], Standing.BEHIND),
    "older, from before the table": ("1", [], Standing.BEHIND),
    "ours, from before the table": ("3", [], Standing.CURRENT),
    "not known, from before the table": ("9", [], Standing.UNKNOWN),
    "older": ("2", UP_TO_3[:2], Standing.BEHIND),
    "ours": ("3", UP_TO_3, Standing.CURRENT),
    "ours is breaking": ("3", [release(1), release(2), release(3, 3)], Standing.CURRENT),
    "newer": ("4", [*UP_TO_3, release(4)], Standing.NEWER_COMPATIBLE),
    "newer, breaking": ("4", [*UP_TO_3, release(4, 4)], Standing.NEWER_BREAKING),
    "newer, and long after breaking": (
        "5",
        [*UP_TO_3, release(4, 4), release(5, 4)],
        Standing.NEWER_BREAKING,
    ),
    "breaks older code than ours": ("4", [*UP_TO_3, release(4, 3)], Standing.NEWER_COMPATIBLE),
    "breaking, announced": (
        "3",
        [*UP_TO_3, release(4, 4, applied=False)],
        Standing.NEWER_BREAKING,
    ),
    "ours is announced": (
        "2",
        [*UP_TO_3[:2], release(3, 3, applied=False)],
        Standing.BEHIND,
    ),
    "about to go back behind ours": ("3", UP_TO_3[:2], Standing.BEHIND),
    "of another line": (
        "9",
        [release(1), Release("9", 2, 1, None, applied=True)],
        Standing.UNKNOWN,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_standings(name: str) -> None:
    version, releases, standing = CASES[name]
    found = judge(needed="3", known=KNOWN, version=version, releases=releases)
    assert found.standing is standing
    assert found.usable is (standing in (Standing.CURRENT, Standing.NEWER_COMPATIBLE))
    if standing is Standing.NEWER_BREAKING:
        assert found.breaking == "4: because of 4"


def declared(*modules: dict[str, Any]) -> Any:
    """Scripts as alembic has them, newest first."""
    made = [
        SimpleNamespace(revision=str(number), doc="", module=SimpleNamespace(**module))
        for number, module in enumerate(modules, 1)
    ]
    return SimpleNamespace(walk_revisions=lambda: reversed(made))


def test_what_migrations_declare() -> None:
    found = revisions(
        declared(
            {},
            {"breaking": True, "breaking_because": "why"},
            {"loses": None, "locks": "one"},
            {"needs_code_of": "3", "breaking_because": "gone"},
            {},
        )
    )
    assert [each.compatible_from for each in found] == [1, 2, 2, 3, 3]
    assert [each.breaking for each in found] == [None, "why", None, "gone", None]
    assert [each.loses for each in found] == [NOT_SAID, NOT_SAID, None, NOT_SAID, NOT_SAID]
    assert (found[2].locks, found[4].locks) == ("one", "not stated")


@pytest.mark.parametrize("module", [{"breaking": True}, {"needs_code_of": "1"}])
def test_who_breaks_says_why(module: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="does not say why"):
        revisions(declared({}, module))


def test_every_migration_says_what_it_locks_and_what_going_back_loses() -> None:
    found = revisions(scripts())
    first = next(each.sequence for each in found if each.name == "0006_schema_releases")
    for each in found[first - 1 :]:
        assert each.locks != "not stated", each.name
        assert each.loses != NOT_SAID, each.name


@pytest.fixture
async def current(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()


async def test_a_database_that_is_refused_can_only_be_looked_at(current: Database) -> None:
    current.refuse("because")
    uses = [current.read, current.write] + ([] if current.is_sqlite else [current.direct])
    for use in uses:
        with pytest.raises(SchemaUnusable, match="because") as caught:
            async with use():
                pass
        assert caught.value.problem()["detail"] == "Nothing was done. because"
    await require_current(current)
    current.refuse(None)
    async with current.read() as connection:
        assert await connection.scalar(text("select count(*) from schema_releases"))


async def test_what_was_announced_and_broken_off_is_put_right(current: Database) -> None:
    """As after a kill of `dlr migrate --to` before it began."""
    known = revisions(scripts())
    async with current.write() as connection:
        await connection.run_sync(announce_going_back, known, known[-2].name)
    with pytest.raises(SchemaBehind, match="about to go back"):
        await require_current(current)
    await migrate(current)
    await require_current(current)


@pytest.mark.postgresql
async def test_a_database_that_is_refused_can_be_asked_whether_it_takes_writes(
    postgres_url: str,
) -> None:
    """Every check asks, so a refusal that hindered it would never end."""
    opened = Database(postgres_url)
    opened.refuse("because")
    assert await require_writable(opened)
    await opened.close()
