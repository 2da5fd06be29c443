"""Encryption of what is stored: by the first key, opened by each, and plain texts stay readable."""

import pytest

from app.parts.sealing import CannotOpen, Sealer, new_key

OLD, NEW, OTHER = new_key(), new_key(), new_key()


def test_what_is_sealed_is_opened_and_not_shown() -> None:
    sealer = Sealer(NEW)
    sealed = sealer.seal("whsec_abc")
    assert "abc" not in sealed
    assert sealer.open(sealed) == "whsec_abc"
    assert NEW not in repr(sealer)


def test_a_key_is_rotated() -> None:
    sealed = Sealer(OLD).seal("whsec_abc")
    both = Sealer(f"{NEW}, {OLD}")
    assert both.open(sealed) == "whsec_abc"
    resealed = both.seal(both.open(sealed))
    assert Sealer(NEW).open(resealed) == "whsec_abc"
    with pytest.raises(CannotOpen):
        Sealer(OLD).open(resealed)


def test_without_a_key_texts_stay_as_they_are() -> None:
    assert Sealer().seal("whsec_abc") == "whsec_abc"
    assert Sealer(NEW).open("whsec_abc") == "whsec_abc"
    with pytest.raises(CannotOpen, match="no key"):
        Sealer().open(Sealer(NEW).seal("whsec_abc"))


@pytest.mark.parametrize(
    "sealed",
    ["", "gAAAA", Sealer(OTHER).seal("x").removeprefix("fernet:")],
    ids=["nothing", "part", "another"],
)
def test_what_no_key_opens_is_said(sealed: str) -> None:
    with pytest.raises(CannotOpen, match="none of the keys"):
        Sealer(NEW).open(f"fernet:{sealed}")


@pytest.mark.parametrize(
    "keys", ["short", f"{NEW},short", "ü" * 32], ids=["short", "second", "no ASCII"]
)
def test_a_key_that_is_none_is_refused_and_not_quoted(keys: str) -> None:
    with pytest.raises(ValueError, match="dlr secrets key") as refused:
        Sealer(keys)
    assert "short" not in str(refused.value)
