"""A cursor comes back as it was given, or not at all."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.lookup.cursor import cursor_after, read_cursor

ID = UUID("0193e0c4-6d2f-7c3a-9b1e-5f0a4c7d8e21")
GOOD = cursor_after(ID)


@given(st.uuids())
def test_it_names_the_message_that_it_was_made_of(message_id: UUID) -> None:
    cursor = cursor_after(message_id)
    assert read_cursor(cursor) == message_id
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum(), "it needs no escaping in a URL"


def test_any_character_that_is_changed_is_noticed() -> None:
    for place, old in enumerate(GOOD):
        for new in "A9-_" if old not in "A9-_" else "Bx":
            with pytest.raises(ValueError, match="not a cursor"):
                read_cursor(GOOD[:place] + new + GOOD[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD[:-1], id="cut"),
        pytest.param(GOOD[:-4], id="cut to whole bytes"),
        pytest.param(GOOD + "AAAA", id="longer"),
        pytest.param(GOOD + "=", id="padded"),
        pytest.param(f" {GOOD}", id="space in front"),
        pytest.param(str(uuid4()), id="an id"),
        pytest.param("null", id="null"),
        pytest.param("é" * 32, id="not ASCII"),
        pytest.param("A" * 32, id="zeros"),
        pytest.param("A" * 100_000, id="long"),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        read_cursor(text)
