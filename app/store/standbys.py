"""Whether a failover would lose what was committed last: standbys that no commit waits for."""

from __future__ import annotations

from sqlalchemy import text

from app.store.engine import Database

# A role without pg_monitor sees that there are standbys, and nothing else about them.
_STANDBYS = text("""
select current_setting('synchronous_standby_names') names,
  current_setting('synchronous_commit') commits,
  count(*) standbys,
  count(state) visible,
  count(*) filter (where state in ('streaming', 'catchup')) streaming
from pg_stat_replication
""")


async def asynchronous_standbys(database: Database) -> str | None:
    """Why the standbys, if there are any, do not have every commit; None if nothing is amiss, or
    if this role cannot tell. Raises StoreUnavailable.
    """
    if database.is_sqlite:
        return None
    async with database.read() as connection:
        found = (await connection.execute(_STANDBYS)).one()
    # Without pg_monitor the state is null, and a running base backup counts as a standby.
    standbys = found.streaming if found.visible else found.standbys
    if not standbys:
        return None
    who, them = ("1 standby", "it") if standbys == 1 else (f"{standbys} standbys", "them")
    if not found.names:
        return f"{who}, and synchronous_standby_names is empty: no commit waits for {them}"
    if found.commits == "local":
        return f"{who}, and synchronous_commit is local: no commit waits for {them}"
    return None
