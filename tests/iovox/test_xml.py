from __future__ import annotations

import string
from dataclasses import replace

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import example, given
from hypothesis import strategies as st

from app.iovox.xml import (
    MAX_RESPONSE_SIZE,
    ParsedResponse,
    build_request,
    forbidden_characters,
    parse_response,
)
from app.model.message import Submission
from tests.iovox.conftest import MESSAGE_ID
from tests.iovox.scripted import ACCEPTED, ACTIVITY_ID, errors
from tests.iovox.tables import labelled

DOCUMENTED = """<?xml version="1.0" encoding="utf-8"?>
<request>
    <origin>447923221231</origin>
    <destination>447723443321</destination>
    <message>Hello there, my name is John</message>
    <callback_url>https://my.dlr.callback.iovox.com/dlr</callback_url>
    <callback_url_headers>{headers}</callback_url_headers>
    <expiry>3</expiry>
    <c2c_failover_link_id>123456</c2c_failover_link_id>
</request>
""".replace("{headers}", "Content-Type: application/json,X-Custom-Header: iovox")
SUBMISSION = Submission(
    MESSAGE_ID, "447923221231", "447723443321", "Hello there, my name is John", 3, "123456"
)


def nodes(request: bytes) -> list[tuple[str, str | None]]:
    root = fromstring(request, forbid_dtd=True)
    assert root.tag == "request"
    return [(node.tag, node.text) for node in root]


def build(submission: Submission) -> bytes:
    return build_request(
        submission,
        callback_url="https://my.dlr.callback.iovox.com/dlr",
        callback_url_headers="Content-Type: application/json,X-Custom-Header: iovox",
    )


def test_the_documented_request() -> None:
    built = build(SUBMISSION)
    assert built.startswith(b'<?xml version="1.0" encoding="utf-8"?>')
    assert nodes(built) == nodes(DOCUMENTED.encode())


def test_optional_nodes_only_where_set() -> None:
    bare = replace(SUBMISSION, expiry=None, c2c_failover_link_id=None)
    built = build_request(bare, callback_url="", callback_url_headers="")
    assert [name for name, _ in nodes(built)] == ["origin", "destination", "message"]


def xml_legal(char: str) -> bool:
    """The Char production of XML 1.0, written out."""
    code = ord(char)
    return (
        code in (0x9, 0xA, 0xD)
        or 0x20 <= code <= 0xD7FF
        or 0xE000 <= code <= 0xFFFD
        or 0x10000 <= code <= 0x10FFFF
    )


legal = st.text(
    st.sampled_from("\r\n\t &<>\"'😀]") | st.characters().filter(xml_legal), max_size=60
)


@given(text=legal.filter(bool), link=legal.filter(bool))
@example(text="  outer spaces \n", link="0012")
@example(text="\r", link="\r\n\r")
@example(text="&#13; &amp; <![CDATA[x]]> ]]>", link="<a/>")
@example(text="👩‍👩‍👧 £€ \u0085\u2028\ufffd", link="'\"")
def test_any_legal_text_arrives_as_it_was(text: str, link: str) -> None:
    built = build(replace(SUBMISSION, text=text, c2c_failover_link_id=link))
    arrived = dict(nodes(built))
    assert (arrived["message"], arrived["c2c_failover_link_id"]) == (text, link)
    assert b"\r" not in built


@given(st.characters())
def test_forbidden_characters_are_exactly_those_of_xml(char: str) -> None:
    found = forbidden_characters(f"a{char}b{char}")
    assert found == (() if xml_legal(char) else (f"U+{ord(char):04X}",))


FORBIDDEN = ["\x00", "\x08", "\x0b", "\x1f", "\ud83d", "\udfff", "\ufffe", "\uffff"]


@pytest.mark.parametrize("char", FORBIDDEN, ids=[f"U+{ord(c):04X}" for c in FORBIDDEN])
def test_forbidden_characters_are_refused_by_name_and_node(char: str) -> None:
    with pytest.raises(ValueError, match=f"message .*U\\+{ord(char):04X}") as caught:
        build(replace(SUBMISSION, text=f"private{char}words"))
    assert "private" not in str(caught.value)


def response(inside: str) -> str:
    return f"<response>{inside}</response>"


IDS = [
    ("as documented", ACCEPTED, ACTIVITY_ID),
    ("leading zeros and case", response("<sms_activity_id>00AbC</sms_activity_id>"), "00AbC"),
    ("outer white space", response("<sms_activity_id>\n 7 \t</sms_activity_id>"), "7"),
    ("references", response("<sms_activity_id>a&amp;&#98;</sms_activity_id>"), "a&b"),
    ("CDATA", response("<sms_activity_id><![CDATA[x<y]]></sms_activity_id>"), "x<y"),
    ("a comment inside", response("<sms_activity_id>x<!-- n -->y</sms_activity_id>"), "xy"),
    ("255 characters", response(f"<sms_activity_id>{'x' * 255}</sms_activity_id>"), "x" * 255),
    ("256 characters", response(f"<sms_activity_id>{'x' * 256}</sms_activity_id>"), None),
    ("empty", response("<sms_activity_id/>"), None),
    ("white space only", response("<sms_activity_id> \n </sms_activity_id>"), None),
    ("none", response(""), None),
    ("other nodes around", response("<a/><sms_activity_id>7</sms_activity_id><b/>"), "7"),
    ("a namespace", '<response xmlns="urn:x"><sms_activity_id>7</sms_activity_id></response>', "7"),
    ("a blank line first", f"\r\n{ACCEPTED}", ACTIVITY_ID),
    ("a byte order mark", f"\ufeff{ACCEPTED}", ACTIVITY_ID),
    ("not under response", "<errors><sms_activity_id>7</sms_activity_id></errors>", None),
]


@pytest.mark.parametrize(("body", "expected"), labelled(IDS))
def test_the_id(body: str, expected: str | None) -> None:
    parsed = parse_response(body.encode())
    assert parsed.readable
    assert parsed.sms_activity_id == expected


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{n} "&a{n - 1 or ""};&a{n - 1 or ""};">' for n in range(1, 30))
    + "]><response><sms_activity_id>&a29;</sms_activity_id></response>"
)
UNREADABLE = [
    ("empty", b""),
    ("blank", b" \n "),
    ("HTML", b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"),
    ("XHTML", b"<html><error>no</error></html>"),
    ("JSON", b'{"sms_activity_id": "7"}'),
    ("text", b"OK"),
    ("half", ACCEPTED.encode()[:-20]),
    ("entity bomb", BOMB.encode()),
    ("external entity", b'<!DOCTYPE r SYSTEM "file:///etc/passwd"><response/>'),
    ("undefined entity", b"<response><sms_activity_id>&nbsp;</sms_activity_id></response>"),
    ("NUL", ACCEPTED.encode().replace(b"d454", b"d4\x0054")),
    ("over the limit", ACCEPTED.encode() + b" " * MAX_RESPONSE_SIZE),
    ("UTF-16 that claims to be UTF-8", ACCEPTED.encode("utf-16")),
    ("something else altogether", b"\xff\xfe\x00\x01\x02"),
    ("thousands deep, never closed", b"<response>" * 6000),
]


@pytest.mark.parametrize("body", labelled(UNREADABLE))
def test_unreadable_is_an_answer(body: bytes) -> None:
    assert parse_response(body) == ParsedResponse(readable=False)


def test_thousands_deep_is_survived() -> None:
    body = b"<response>" * 2500 + b"</response>" * 2500
    assert parse_response(body) == ParsedResponse()


CHARSETS = [
    ("declared Latin-1", '<?xml version="1.0" encoding="ISO-8859-1"?>', "latin-1", "Origin é"),
    (
        "declared windows-1252",
        '<?xml version="1.0" encoding="windows-1252"?>',
        "cp1252",
        "Origin é",
    ),
    ("none declared is UTF-8", "", "utf-8", "Origin é"),
    ("UTF-16 with its mark", "", "utf-16", "Origin é"),
    ("Latin-1 undeclared", "", "latin-1", "Origin \ufffd"),
    (
        "Latin-1 declared as UTF-8",
        '<?xml version="1.0" encoding="UTF-8"?>',
        "latin-1",
        "Origin \ufffd",
    ),
    ("an unknown one declared", '<?xml version="1.0" encoding="x-none"?>', "utf-8", "Origin é"),
]


@pytest.mark.parametrize(("declared", "codec", "text"), labelled(CHARSETS))
def test_charsets_never_lose_the_words(declared: str, codec: str, text: str) -> None:
    body = f"{declared}<errors><error status='400'>Origin é</error></errors>".encode(codec)
    assert [error.text for error in parse_response(body).errors] == [text]


def test_an_id_with_a_broken_character_is_none() -> None:
    body = response("<sms_activity_id>é7</sms_activity_id>").encode("latin-1")
    assert parse_response(body).sms_activity_id is None


def test_several_errors_are_all_kept_in_order() -> None:
    body = errors((400, "Origin Empty"), (None, " Message\n Empty "), (400, ""))
    body = body.replace("</errors>", "<error status='x'>4 &lt; 5</error></errors>")
    kept = [(error.status, error.text) for error in parse_response(body.encode()).errors]
    assert kept == [(400, "Origin Empty"), (None, "Message Empty"), (400, ""), (None, "4 < 5")]


fragments = st.lists(
    st.sampled_from(["<response>", "</response>", "<sms_activity_id>", "</sms_activity_id>", "7"])
    | st.sampled_from(["<errors>", "</errors>", "<error status='400'>", "</error>", "&x;", "<!--"])
    | st.text(string.printable, max_size=5),
    max_size=12,
).map(lambda parts: "".join(parts).encode())


@given(st.binary(max_size=200) | fragments)
def test_parse_answer_never_raises(body: bytes) -> None:
    parsed = parse_response(body)
    assert parsed.sms_activity_id is None or 0 < len(parsed.sms_activity_id) <= 255


USUAL = ["d454cfe0-a835-11e6-9852-d43d7ed6ce4c", "0042", "a.b_c:d'e\"f=g?h", "x" * 255]
UNUSUAL = ["a&amp;b", "caf\u00e9", "<![CDATA[x]]>", "<!-- y -->x", "a b", "x" * 256, "", " 0042 "]


@pytest.mark.parametrize("written", USUAL + UNUSUAL)
@pytest.mark.parametrize("start", ["", '<?xml version="1.0" encoding="UTF-8"?>\n', "\n"])
def test_the_usual_answer_is_read_as_any_other(start: str, written: str) -> None:
    """It has a short cut of its own; a comment in front makes it take the long way."""
    node = f"<sms_activity_id>{written}</sms_activity_id>"
    short = f"{start}<response>\n {node}</response>\n".encode()
    long = f"{start}<response><!-- long -->{node}</response>\n".encode()
    assert parse_response(short) == parse_response(long)
    assert parse_response(short).readable
