"""Webhook verification, with the reference library as the one who signs."""

from __future__ import annotations

import base64
import json
import secrets
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from iovox_receipts import BadSignature, verify_webhook

NOW = 1_700_000_000
SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 24).decode()
BODY = json.dumps({"type": "message.delivered", "data": {"reference": "Ünïcode 😀"}}).encode()


def sign(body: bytes = BODY, *, secret: str = SECRET, at: int = NOW) -> str:
    return Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())


def headers(**changed: str | None) -> dict[str, str]:
    all_of_them = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW),
        "webhook-signature": sign(),
        **{f"webhook-{name}": value for name, value in changed.items()},
    }
    return {name: value for name, value in all_of_them.items() if value is not None}


@pytest.mark.parametrize(
    ("given", "secret"),
    [
        pytest.param(headers(), SECRET, id="plain"),
        pytest.param(
            {k.title(): v for k, v in headers().items()}, SECRET, id="headers in capitals"
        ),
        pytest.param(headers(signature=f"v1a,x v1,AAAA {sign()}"), SECRET, id="one of several"),
        pytest.param(headers(signature=f"{sign(secret=OTHER)} {sign()}"), SECRET, id="rotated"),
        pytest.param(headers(), [OTHER, SECRET], id="two secrets while one is rotated"),
        pytest.param(headers(), SECRET.removeprefix("whsec_"), id="secret without its prefix"),
        pytest.param(headers(), SECRET.rstrip("="), id="secret without padding"),
        pytest.param(
            headers(timestamp=str(NOW - 299), signature=sign(at=NOW - 299)), SECRET, id="late"
        ),
    ],
)
def test_the_services_webhooks_are_believed(given: dict[str, str], secret: str | list[str]) -> None:
    content = verify_webhook(BODY, given, secret, now=NOW)
    assert content["data"]["reference"] == "Ünïcode 😀"
    assert verify_webhook(BODY.decode(), given, secret, now=NOW) == content


@pytest.mark.parametrize(
    ("given", "body"),
    [
        pytest.param(headers(id=None), BODY, id="no id"),
        pytest.param(headers(timestamp=None), BODY, id="no timestamp"),
        pytest.param(headers(signature=None), BODY, id="no signature"),
        pytest.param(headers(signature=""), BODY, id="an empty signature"),
        pytest.param(headers(), BODY + b" ", id="body altered"),
        pytest.param(headers(id="msg_2"), BODY, id="id altered"),
        pytest.param(headers(timestamp=str(NOW + 1)), BODY, id="timestamp altered"),
        pytest.param(headers(signature=sign(secret=OTHER)), BODY, id="another's secret"),
        pytest.param(headers(signature=sign().replace("v1,", "v2,")), BODY, id="another version"),
        pytest.param(headers(signature=sign().removeprefix("v1,")), BODY, id="no version"),
        pytest.param(headers(signature="v1,***"), BODY, id="not base64"),
        pytest.param(headers(signature="v1,é"), BODY, id="not ASCII"),
        pytest.param(headers(signature=sign()[:-4]), BODY, id="signature cut"),
        pytest.param(headers(timestamp="-5"), BODY, id="negative"),
        pytest.param(headers(timestamp="9" * 400), BODY, id="a huge timestamp"),
        pytest.param(headers(timestamp="x"), BODY, id="a timestamp that is none"),
        pytest.param(
            headers(timestamp=str(NOW - 301), signature=sign(at=NOW - 301)), BODY, id="too old"
        ),
        pytest.param(
            headers(timestamp=str(NOW + 301), signature=sign(at=NOW + 301)), BODY, id="too new"
        ),
        pytest.param(headers(signature=sign(b"no JSON")), b"no JSON", id="signed, not JSON"),
        pytest.param(headers(signature=sign(b"[]")), b"[]", id="signed, not an object"),
    ],
)
def test_anything_else_is_not(given: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadSignature):
        verify_webhook(body, given, SECRET, now=NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", "é"])
def test_a_secret_that_is_none_is_a_mistake_of_ours(secret: str) -> None:
    with pytest.raises(ValueError, match="secret") as raised:
        verify_webhook(BODY, headers(), secret, now=NOW)
    assert secret == "" or "***" not in str(raised.value)


def test_random_bodies_fit_what_the_reference_signs() -> None:
    for _ in range(50):
        body = json.dumps({"x": secrets.token_hex(secrets.randbelow(64))}).encode()
        assert verify_webhook(body, headers(signature=sign(body)), SECRET, now=NOW)
