"""When a database counts as one that has forgotten, and what an incarnation's row tells."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from app.record import beats
from app.record.beats import Beats
from app.record.forgetting import (
    OTHER_BEAT,
    OTHER_INCARNATION,
    PUT_BACK,
    RESTARTED,
    why_forgotten,
)
from app.store.imprint import Imprint, imprint
from app.store.incarnation import Incarnation, Presence, Process

NOW = datetime(2026, 5, 6, tzinfo=UTC)
ME = "a" * 32
FIRST, SECOND, LAST, NEXT = (UUID(int=n) for n in range(1, 5))
ROW = imprint("5/16384/750", is_released=False)
NEWEST = Incarnation(7, FIRST, "one server", 0, NOW, "", ROW)
KNOWN = Beats(7, FIRST, LAST, NEXT, NOW, ROW)


def found(newest: Incarnation = NEWEST, *, beat: UUID | None = LAST) -> Presence:
    there = {} if beat is None else {ME: Process(ME, "here", beat, None, FIRST, False, NOW)}
    return Presence("one server", newest, FIRST, there, None)


@pytest.mark.parametrize("beat", [LAST, NEXT])
def test_one_of_two_beats_is_enough(beat: UUID) -> None:
    """Which of them it is, is not known while a swap is in doubt."""
    assert why_forgotten(found(beat=beat), NEWEST, ME, KNOWN) is None


@pytest.mark.parametrize(
    ("there", "known", "why"),
    [
        pytest.param(
            found(replace(NEWEST, generation="another")),
            KNOWN,
            RESTARTED.format("one server"),
            id="another server",
        ),
        pytest.param(found(replace(NEWEST, nonce=SECOND)), KNOWN, OTHER_INCARNATION, id="nonce"),
        pytest.param(found(replace(NEWEST, n=6, nonce=SECOND)), KNOWN, OTHER_INCARNATION, id="n"),
        pytest.param(found(beat=SECOND), KNOWN, OTHER_BEAT, id="a beat of before"),
        pytest.param(found(beat=None), KNOWN, OTHER_BEAT, id="no row"),
        pytest.param(
            found(replace(NEWEST, imprint=imprint("5/16384/751", is_released=False))),
            KNOWN,
            PUT_BACK,
            id="the row was written anew",
        ),
        pytest.param(found(replace(NEWEST, n=8, nonce=SECOND)), KNOWN, None, id="others noticed"),
        pytest.param(found(beat=None), None, None, id="nothing to compare with"),
        pytest.param(
            found(replace(NEWEST, imprint=imprint("9", is_released=False))),
            KNOWN._replace(imprint=None),
            None,
            id="no imprint to compare with",
        ),
    ],
)
def test_what_is_compared(there: Presence, known: Beats | None, why: str | None) -> None:
    assert there.newest is not None
    assert why_forgotten(there, there.newest, ME, known) == why


def test_a_release_writes_the_row_anew() -> None:
    """And nothing else does: not once it is released."""
    released = imprint("5/16384/760", is_released=True)
    assert ROW.is_still(released)
    assert released.is_still(released)
    assert not released.is_still(imprint("5/16384/761", is_released=True))
    assert not released.is_still(ROW)


def test_beats_keep_the_imprint(tmp_path: Path) -> None:
    for stamp in (ROW, Imprint(ROW.row, is_released=True), None):
        beats.write(tmp_path, KNOWN._replace(imprint=stamp))
        assert beats.read(tmp_path) == KNOWN._replace(imprint=stamp)


def test_beats_of_the_release_before_have_none(tmp_path: Path) -> None:
    assert beats.read(tmp_path) is None
    file = tmp_path / beats.FILE
    assert not file.exists()
    beats.write(tmp_path, KNOWN)
    file.write_bytes(file.read_bytes()[:80])
    assert beats.read(tmp_path) == KNOWN._replace(imprint=None)
    file.write_bytes(file.read_bytes()[:79])
    assert beats.read(tmp_path) is None
