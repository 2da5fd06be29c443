"""Whether the database lost commits, as by a restore: judged by its rows about this process."""

from __future__ import annotations

from app.record.beats import Beats
from app.store.incarnation import Incarnation, Presence

RESTARTED = "it was restarted, restored or failed over: {}"
OTHER_INCARNATION = "it has forgotten the incarnation that we know"
OTHER_BEAT = "it does not have our newest beat"
PUT_BACK = "its rows were written anew, as when a dump or a copy is put back, or SQLite vacuumed"


def why_forgotten(
    found: Presence, newest: Incarnation, name: str, known: Beats | None
) -> str | None:
    """The reason in words. None where it has lost nothing, where another process has already begun
    a new incarnation, or where there is nothing to compare.

    ``name`` is the process's, ``known`` what the process knows to be in the database.
    """
    if newest.generation != found.generation:
        return RESTARTED.format(found.generation)
    if known is None or newest.n > known.n:
        return None
    if newest.nonce != known.incarnation:
        return OTHER_INCARNATION
    me = found.processes.get(name)
    if me is None or me.beat not in known.known:
        return OTHER_BEAT
    is_still = known.imprint is None or known.imprint.is_still(newest.imprint)
    return None if is_still else PUT_BACK
