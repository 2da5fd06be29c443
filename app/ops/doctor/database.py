"""The database: is it there, its schema ours, every commit at its standbys; who works on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from app.errors import SchemaBehind, SchemaUnusable, StoreUnavailable, StoreUnsuitable
from app.model.alarm import Report
from app.ops.doctor.findings import Finding
from app.store.engine import Database
from app.store.operations import OperationsStore
from app.store.presence import PresenceStore
from app.store.schema import require_current
from app.store.standbys import asynchronous_standbys
from app.store.writable import require_writable

CHECK = "database"
CLOCK_OFFSET = 2.0
FRESH = timedelta(seconds=60)
"""How old a report may be: processes report every DLR_OPS_INTERVAL, by default 10 s."""


async def examine_database(database: Database) -> list[Finding]:
    """Whether it can be used, and then what it says of the service's processes."""
    if database.file is not None and not database.file.exists():
        return [
            Finding(
                CHECK, f"There is no {database.file}", "run `dlr migrate`, or start `dlr serve`"
            )
        ]
    try:
        await require_writable(database)
        await require_current(database)
    except SchemaBehind as error:
        return [Finding(CHECK, error.detail, "run `dlr migrate`")]
    except SchemaUnusable as error:
        return [Finding(CHECK, error.detail, "run the release that the schema is for")]
    except StoreUnsuitable as error:
        return [Finding(CHECK, error.detail, "change the setting that it names")]
    except StoreUnavailable as error:
        return [Finding(CHECK, error.detail, "check DLR_DATABASE_URL, and that it is running")]
    found = [Finding(CHECK, f"{database.name} can be written, and its schema is ours")]
    if warning := await asynchronous_standbys(database):
        found.append(
            Finding(
                "standbys",
                f"{warning}: a failover may lose the last moments before it",
                "set synchronous_standby_names (docs/operations.md, Failover)",
            )
        )
    ahead = database.clock.host_ahead
    if abs(ahead) > CLOCK_OFFSET:
        found.append(
            Finding(
                "clock",
                f"This host's clock is {ahead:+.1f} s from the database's",
                "have NTP set both clocks",
            )
        )
    return found


async def examine_processes(database: Database, marks: Callable[[str], list[str]]) -> list[Finding]:
    """What the processes report. ``marks``: short digests of our callback secrets, for a salt."""
    store = OperationsStore(database)
    reports = await store.reports(since=database.clock.now() - FRESH)
    if not reports:
        return [Finding("processes", "No process of the service has reported", "start `dlr serve`")]
    found = [*_of_reports(reports, marks)]
    for alarm in await store.alarms():
        if alarm.ended_at is None:
            remedy = f"see docs/operations.md, {alarm.name}"
            found.append(Finding(f"alarm {alarm.name}", alarm.detail, remedy))
    if await PresenceStore(database).is_held():
        found.append(
            Finding("queue", "The queue is held: nothing is sent", "`dlr queue release` ends it")
        )
    good = Finding("processes", f"{len(reports)} report, and one of them sends what is queued")
    return found or [good]


def _of_reports(reports: list[Report], marks: Callable[[str], list[str]]) -> Iterator[Finding]:
    if not any(one.works for one in reports):
        yield Finding(
            "worker",
            "No process sends what is queued and delivers webhooks",
            "start `dlr worker`, or `dlr serve` without --no-workers",
        )
    receiving = [one for one in reports if one.receives]
    if not receiving:
        yield Finding("processes", "No process takes receipts", "start `dlr serve`")
    strangers = Counter(
        one.host for one in receiving if one.secrets and not set(marks(one.salt)) & set(one.secrets)
    )
    for host, number in strangers.items():
        who = "A process" if number == 1 else f"Each of {number} processes"
        yield Finding(
            "secret",
            f"{who} on {host} does not know the secret of these settings, and refuses their "
            "receipts",
            "give all replicas the same DLR_CALLBACK_URL_HEADERS, and the former value in "
            "DLR_CALLBACK_PREVIOUS_SECRETS",
        )
    for one in reports:
        if abs(one.clock_ahead) > CLOCK_OFFSET:
            yield Finding(
                "clock",
                f"The clock of {one.host} is {one.clock_ahead:+.1f} s from the database's",
                "have NTP set both clocks",
            )
