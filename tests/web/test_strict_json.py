"""JSON is bounded before it is parsed, and the same is read as by anybody else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BadRequest, Invalid
from app.web import strict_json
from app.web.strict_json import (
    MAX_NUMBER,
    count_members,
    parse_json,
    require_nothing,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('\\"{[,]}\n é😀', max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.text('\\",a', max_size=4), inner, max_size=4
    ),
    max_leaves=20,
)  # fmt: skip


def members(value: Any) -> int:
    """Members and items, an empty object or list counting as one."""
    if isinstance(value, dict):
        return max(1, len(value)) + sum(map(members, value.values()))
    if isinstance(value, list):
        return max(1, len(value)) + sum(map(members, value))
    return 0


@given(value=VALUES, size=st.integers(1, 12), is_ascii=st.booleans())
def test_members_are_counted_wherever_a_slice_ends(value: Any, size: int, is_ascii: bool) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "SLICE", size)
        assert count_members(written) == members(value)


@given(value=VALUES)
def test_json_is_read_as_it_was_meant(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "number", ["9" * 101, "-" + "9" * 100, "0." + "1" * 99, "1e" + "1" * 99, "9" * 100_000]
)
def test_a_number_has_a_length(number: str) -> None:
    with pytest.raises(BadRequest, match=f"more than {MAX_NUMBER} characters"):
        parse_json(f'{{"ids": [{number}]}}'.encode())


@pytest.mark.parametrize("number", ["9" * MAX_NUMBER, "-0", "1e400", "0.1"])
def test_numbers_are_what_python_makes_of_them(number: str) -> None:
    assert repr(parse_json(number.encode())) == repr(json.loads(number))


@pytest.mark.parametrize("value", [None, {}])
def test_no_body_is_none_or_an_empty_object(value: object) -> None:
    require_nothing(value)


@pytest.mark.parametrize("value", [[], "", 0, False, {"limit": 10}])
def test_any_other_is_refused(value: object) -> None:
    with pytest.raises(Invalid, match="takes no body") as refused:
        require_nothing(value)
    assert refused.value.errors[0].field in ("body", "limit")


def test_of_many_names_some_are_named() -> None:
    with pytest.raises(Invalid) as refused:
        require_nothing({f"name{number}": 1 for number in range(1_000)})
    assert len(refused.value.errors) == 20
    assert refused.value.errors_left_out == 980
