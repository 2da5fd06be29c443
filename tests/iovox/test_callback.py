from __future__ import annotations

import pytest

from app.iovox.callback import MESSAGE_ID_HEADER, CallbackHeaders
from tests.iovox.conftest import MESSAGE_ID
from tests.iovox.tables import labelled

DOCUMENTED = "Content-Type: application/json,X-Custom-Header: iovox"


def parse(headers: str, auth: str | None = None, previous: tuple[str, ...] = ()) -> CallbackHeaders:
    return CallbackHeaders.parse(headers, auth_header=auth, previous_secrets=previous)


MINTED = [
    ("as documented", DOCUMENTED, None, DOCUMENTED),
    ("content type added, first", "X-A: s", None, "Content-Type: application/json,X-A: s"),
    (
        "content type kept in its place",
        "X-A: s,content-type: a/b",
        None,
        "X-A: s,content-type: a/b",
    ),
    (
        "charset kept",
        "Content-Type: a/b; charset=x,X: s",
        None,
        "Content-Type: a/b; charset=x,X: s",
    ),
    (
        "white space tidied",
        " X-A:s , X-B:  t ",
        "x-b",
        "Content-Type: application/json,X-A: s,X-B: t",
    ),
    (
        "colons in a value",
        "Authorization: Basic a:b",
        None,
        "Content-Type: application/json,Authorization: Basic a:b",
    ),
]


@pytest.mark.parametrize(("setting", "auth", "text"), labelled(MINTED))
def test_minted_text(setting: str, auth: str | None, text: str) -> None:
    headers = parse(setting, auth)
    assert headers.for_message(None) == text
    assert headers.for_message(MESSAGE_ID) == f"{text},X-Message-Id: {MESSAGE_ID}"


REFUSED = [
    ("empty", "", None, (), "is empty"),
    ("blank", "  ", None, (), "is empty"),
    ("no colon", "X-A: s,s3cret", None, (), "Pair 2 .* no `:`"),
    ("trailing comma", "X-A: s3cret,", None, (), "Pair 2 .* no `:`"),
    ("comma in the secret, then a colon", "X-A: s,s3 cret:x", None, (), "Pair 2 .* name"),
    ("name with a space", "X A: s3cret", None, (), "Pair 1 .* name"),
    ("name not ASCII", "X-Ä: s3cret", None, (), "Pair 1 .* name"),
    ("no name", ": s3cret", None, (), "Pair 1 .* name"),
    ("empty value", "X-A: ", None, (), "Pair 1 .* empty value"),
    ("line break", "X-A: s3cret\r\nX-B: t", None, (), "line break"),
    ("final line break", "X-A: s3cret\n", None, (), "line break"),
    ("tab inside", "X-A: s3\tcret", None, (), "outside visible ASCII"),
    ("not ASCII", "X-A: s3creté", None, (), "outside visible ASCII"),
    ("duplicate", "X-A: s3cret,x-a: t", None, (), "Pair 2 .* second time"),
    (
        "duplicate content type",
        "Content-Type: a/b,X-A: s,content-type: a/c",
        None,
        (),
        "Pair 3 .* second",
    ),
    ("content type only", "Content-Type: application/json", None, (), "besides Content-Type"),
    ("several, none named", "X-A: s3cret,X-B: t", None, (), "DLR_CALLBACK_AUTH_HEADER must name"),
    ("named one absent", "X-A: s3cret", "X-B", (), "names none"),
    ("content type named", "Content-Type: a/b,X-A: s", "Content-Type", (), "names none"),
    ("our own header", "X-A: s,X-MESSAGE-ID: s3cret", None, (), "Pair 2 .* adds itself"),
    ("previous empty", "X-A: s", None, ("t", ""), "Secret 2 .* empty"),
    ("previous with a comma", "X-A: s", None, ("s3cret,x",), "Secret 1 .* comma"),
]


@pytest.mark.parametrize(("setting", "auth", "previous", "says"), labelled(REFUSED))
def test_a_wrong_setting_is_one_sentence_without_the_secret(
    setting: str, auth: str | None, previous: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        parse(setting, auth, previous)
    assert "s3" not in str(caught.value)
    assert str(caught.value).endswith(".")


HEADERS = parse("X-Auth: current,X-Other: other", "X-AUTH", ("older", "oldest"))
OFFERED = [
    ("current", [(b"x-auth", b"current")], True),
    ("previous", [(b"x-auth", b"older")], True),
    ("the one before", [(b"x-auth", b"oldest")], True),
    ("outer white space", [(b"x-auth", b" \tcurrent \t")], True),
    ("among others", [(b"host", b"x"), (b"x-auth", b"current"), (b"x-other", b"n")], True),
    ("a second copy is right", [(b"x-auth", b"wrong"), (b"x-auth", b"current")], True),
    ("nothing", [], False),
    ("empty", [(b"x-auth", b"")], False),
    ("wrong", [(b"x-auth", b"currenT")], False),
    ("prefix", [(b"x-auth", b"curren")], False),
    ("longer", [(b"x-auth", b"current1")], False),
    ("not ASCII", [(b"x-auth", b"curr\xffnt")], False),
    ("wrong header", [(b"x-other", b"current")], False),
    ("the other header's value", [(b"x-auth", b"other")], False),
    ("all at once", [(b"x-auth", b"current,older")], False),
]


@pytest.mark.parametrize(("offered", "known"), labelled(OFFERED))
def test_verify(offered: list[tuple[bytes, bytes]], known: bool) -> None:
    assert HEADERS.verify(offered) is known
    assert HEADERS.verify(iter(offered)) is known


def test_what_is_minted_verifies() -> None:
    value = parse("X-Auth: a secret:with=odd;signs").for_message(MESSAGE_ID)
    sent = [pair.split(": ", 1) for pair in value.split(",")]
    raw = [(name.lower().encode(), value.encode()) for name, value in sent]
    assert parse("X-Auth: a secret:with=odd;signs").verify(raw)
    assert dict(raw)[MESSAGE_ID_HEADER] == str(MESSAGE_ID).encode()


def test_secrets_show_nowhere() -> None:
    shown = f"{HEADERS!r} {HEADERS!s} {HEADERS}"
    assert not any(word in shown for word in ("current", "older", "oldest", "other"))
    assert HEADERS.redact("bad: current / oldest") == "bad: [secret] / [secret]"
