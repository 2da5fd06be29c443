"""Every error text that iovox documents, and nothing worse for what it does not document."""

from __future__ import annotations

import httpx
import pytest

from app.simulator.main import create_simulator
from app.simulator.server import make_server

from .running import CREDENTIALS, Caller, errors_of, request_xml, running

TOO_LONG = "Message must be less than 160 characters long"

FIELDS: list[tuple[str, dict[str, str | None], list[str]]] = [
    ("no origin", {"origin": None}, ["Origin Empty"]),
    ("empty origin", {"origin": ""}, ["Origin Empty"]),
    ("blank origin", {"origin": "  "}, ["Origin Empty"]),
    ("a name of 12", {"origin": "Twelve chars"}, ["Origin Invalid: Twelve chars"]),
    ("a special character", {"origin": "B&Q"}, ["Origin Invalid: B&Q"]),
    ("an accent", {"origin": "Café"}, ["Origin Invalid: Café"]),
    ("a line break at the end", {"origin": "Shop\n"}, ["Origin Invalid: Shop\n"]),
    ("a plus", {"origin": "+447923221231"}, ["Origin Invalid: +447923221231"]),
    ("00 before digits", {"origin": "00447923221231"}, ["Origin Invalid: 00447923221231"]),
    ("16 digits", {"origin": "4479232212311111"}, ["Origin Invalid: 4479232212311111"]),
    ("digits of another script", {"origin": "٤٤٧"}, ["Origin Invalid: ٤٤٧"]),
    ("no destination", {"destination": None}, ["Destination Empty"]),
    ("empty destination", {"destination": ""}, ["Destination Empty"]),
    ("a word for a number", {"destination": "abc"}, ["Destination Invalid: abc"]),
    ("a plus there", {"destination": "+447700900000"}, ["Destination Invalid: +447700900000"]),
    ("spaces there", {"destination": "44 7700"}, ["Destination Invalid: 44 7700"]),
    ("a national number", {"destination": "07700900000"}, ["Destination Invalid: 07700900000"]),
    ("16 digits there", {"destination": "4" * 16}, [f"Destination Invalid: {'4' * 16}"]),
    ("markup there", {"destination": "<a>&"}, ["Destination Invalid: <a>&"]),
    ("no message", {"message": None}, ["Message Empty"]),
    ("empty message", {"message": ""}, ["Message Empty"]),
    ("161 characters", {"message": "é" * 161}, [TOO_LONG]),
    (
        "everything wrong",
        {"origin": "!", "destination": "x", "message": "m" * 200},
        ["Origin Invalid: !", "Destination Invalid: x", TOO_LONG],
    ),
    (
        "everything missing",
        {"origin": None, "destination": None, "message": None, "expiry": "3"},
        ["Origin Empty", "Destination Empty", "Message Empty"],
    ),
]

TAKEN: list[tuple[str, dict[str, str | None]]] = [
    ("a name of 11", {"origin": "Eleven char"}),
    ("full stops", {"origin": "A.B. C"}),
    ("15 digits", {"origin": "447923221231111"}),
    ("a short code", {"origin": "60300"}),
    ("exactly 160", {"message": "é" * 160}),
    ("160 emoji", {"message": "😀" * 160}),
    ("an expiry that is no number", {"expiry": "soon"}),
    ("no callback_url", {"callback_url": None}),
    ("a callback_url that is none", {"callback_url": "nonsense://["}),
    ("headers without a colon", {"callback_url_headers": "nonsense,,:"}),
    ("headers nobody can send", {"callback_url_headers": "A b: c,Host: ,X: \x7f,é: é"}),
    ("a length that is not the body's", {"callback_url_headers": "Content-Length: 5"}),
    ("an encoding that is not the body's", {"callback_url_headers": "Transfer-Encoding: x"}),
    ("a node that iovox does not know", {"colour": "red"}),
]


@pytest.mark.parametrize(("nodes", "texts"), [c[1:] for c in FIELDS], ids=[c[0] for c in FIELDS])
def test_fields_are_refused_all_at_once(
    caller: Caller, nodes: dict[str, str | None], texts: list[str]
) -> None:
    answer = caller.send(**nodes)
    assert answer.status_code == 400
    assert errors_of(answer) == texts
    assert caller.counts()["accepted"] == 0


@pytest.mark.parametrize("nodes", [c[1] for c in TAKEN], ids=[c[0] for c in TAKEN])
def test_what_iovox_does_not_forbid_is_taken(caller: Caller, nodes: dict[str, str | None]) -> None:
    assert caller.send(**nodes).status_code == 201
    caller.settle()


def test_whether_160_characters_pass_is_a_knob(caller: Caller) -> None:
    caller.behave(longest_message=159)
    assert errors_of(caller.send(message="m" * 160)) == [TOO_LONG]
    assert caller.send(message="m" * 159).status_code == 201


BODIES = [
    ("nothing", b"", "XML Empty"),
    ("white space", b" \r\n\t", "XML Empty"),
    ("no XML", b"hello", "XML parse error. syntax error at line 1, column 0"),
    (
        "a tag left open",
        b"<request>\n <a>",
        "XML parse error. no element found at line 2, column 4",
    ),
    ("crossed tags", b"<request>\n<a></b>", "XML parse error. mismatched tag at line 2, column 5"),
    (
        "not UTF-8",
        b"<request><origin>\xff</origin></request>",
        "XML parse error. not well-formed (invalid token) at line 1, column 17",
    ),
    (
        "a control character",
        b"<request><origin>&#1;</origin></request>",
        "XML parse error. reference to invalid character number at line 1, column 17",
    ),
    (
        "an entity bomb",
        b'<?xml version="1.0"?>\n<!DOCTYPE r [<!ENTITY a "b">]>\n<request><a>&a;</a></request>',
        "XML parse error. DTD forbidden at line 2, column 0",
    ),
    (
        "an encoding that nobody knows",
        b'<?xml version="1.0" encoding="klingon"?><request><origin>1</origin></request>',
        "XML parse error. unknown encoding at line 1, column 0",
    ),
    (
        "an encoding that expat cannot read",
        b'<?xml version="1.0" encoding="utf-7"?><request><origin>1</origin></request>',
        "XML parse error. unknown encoding at line 1, column 0",
    ),
    ("an empty request", b"<request/>", "Request Empty"),
    ("a request of white space", b"<request>  \n</request>", "Request Empty"),
    ("another root", b"<response><origin>1</origin></response>", "Request Empty"),
    ("nested beyond reason", b"<request>" + b"<a>" * 50_000, None),
]


@pytest.mark.parametrize(("body", "text"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES])
def test_bodies_are_refused(caller: Caller, body: bytes, text: str | None) -> None:
    answer = caller.post(body)
    assert answer.status_code == 400
    assert text is None or errors_of(answer) == [text]


def test_a_body_beyond_all_measure_is_refused(caller: Caller) -> None:
    assert caller.post(b"<request>" + b" " * 300_000).status_code == 413


CALLS = [
    ("no version", "POST", "method=sendSms", ["API Version Empty"]),
    ("an empty version", "POST", "v=&method=sendSms", ["API Version Empty"]),
    ("another version", "POST", "v=2&method=sendSms", ["API Version Invalid"]),
    ("no version number", "POST", "v=%00%ff&method=sendSms", ["API Version Invalid"]),
    ("GET", "GET", "v=3&method=sendSms", ["Request Method must be POST. GET attempted"]),
    ("PUT", "PUT", "v=3&method=sendSms", ["Request Method must be POST. PUT attempted"]),
    ("PROPFIND", "PROPFIND", "v=3&method=sendSms", None),
    ("another method", "POST", "v=3&method=getCalls", ["API Method Invalid"]),
    (
        "version and method",
        "DELETE",
        "method=sendSms",
        ["API Version Empty", "Request Method must be POST. DELETE attempted"],
    ),
]


@pytest.mark.parametrize(
    ("http_method", "query", "texts"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS]
)
def test_calls_are_refused(
    caller: Caller, http_method: str, query: str, texts: list[str] | None
) -> None:
    answer = caller.client.request(
        http_method, f"/SMS?{query}", content=request_xml(), headers=CREDENTIALS
    )
    assert answer.status_code == 400
    expected = texts or [f"Request Method must be POST. {http_method} attempted"]
    assert errors_of(answer) == expected


ANYONE: list[tuple[str, dict[str, str], int]] = [
    ("both", {"username": "u", "secureKey": "k"}, 201),
    ("in other letters", {"USERNAME": "u", "SECUREKEY": "k"}, 201),
    ("neither", {}, 401),
    ("no key", {"username": "u"}, 401),
    ("no user", {"secureKey": "k"}, 401),
    ("an empty key", {"username": "u", "secureKey": ""}, 401),
]
CONFIGURED: list[tuple[str, dict[str, str], int]] = [
    ("the right pair", {"username": "right", "secureKey": "secret"}, 201),
    ("a wrong key", {"username": "right", "secureKey": "wrong"}, 401),
    ("a wrong user", {"username": "wrong", "secureKey": "secret"}, 401),
    ("a key that only begins right", {"username": "right", "secureKey": "secret2"}, 401),
    ("neither", {}, 401),
]


@pytest.mark.parametrize(("headers", "status"), [c[1:] for c in ANYONE], ids=[c[0] for c in ANYONE])
def test_any_credentials_will_do(caller: Caller, headers: dict[str, str], status: int) -> None:
    answer = caller.client.post("/SMS?v=3&method=sendSms", content=request_xml(), headers=headers)
    check_unauthorized(answer, status)


def test_configured_credentials_must_match() -> None:
    app = create_simulator(username="right", secure_key="secret")
    with running(make_server(app, port=0)) as url:
        for name, headers, status in CONFIGURED:
            answer = httpx.post(
                f"{url}/SMS?v=3&method=sendSms",
                content=request_xml(),
                headers=headers,
                trust_env=False,
            )
            assert answer.status_code == status, name
            check_unauthorized(answer, status)


def check_unauthorized(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    if status == 401:
        assert errors_of(answer) == ["HTTP 401: Unauthorized"]
