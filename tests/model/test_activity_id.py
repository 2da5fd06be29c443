"""One spelling of iovox's ids: a UUID is the same one however it is written; all else is opaque."""

from __future__ import annotations

import pytest

from app.model.activity_id import MAX_ID_LENGTH, one_spelling

UUID = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"


@pytest.mark.parametrize(
    "written",
    [
        UUID,
        UUID.upper(),
        f"  {UUID}\r\n",
        f"{{{UUID}}}",
        f"\t{{{UUID.upper()}}} ",
        "D454cfe0-a835-11E6-9852-d43d7ed6ce4C",
    ],
)
def test_a_uuid_has_one_spelling(written: str) -> None:
    assert one_spelling(written) == UUID


@pytest.mark.parametrize(
    "opaque",
    [
        "8",
        "008",
        "ABC-def",
        UUID.upper().replace("-", ""),
        f"{{{UUID.upper()}",
        f"{UUID.upper()}}}",
        f"({UUID.upper()})",
        f"{{{{{UUID.upper()}}}}}",
        f"{UUID.upper()}0",
        f"G{UUID.upper()[1:]}",
        UUID.upper().replace("-", "_"),
        "\u0661454CFE0-A835-11E6-9852-D43D7ED6CE4C",  # an Arabic digit is none of a UUID's
        "X" * 36,
        "X" * 38,
    ],
)
def test_everything_else_keeps_its_case_and_zeros(opaque: str) -> None:
    assert one_spelling(opaque) == opaque
    assert one_spelling(f" {opaque}\n") == opaque


def test_the_longest_id() -> None:
    assert MAX_ID_LENGTH == 255
