"""Sending one message: the response, and what can be looked up afterwards."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import httpx
import pytest

from tests.iovox.scripted import Scripted, errors, http
from tests.send.world import ACCEPTED, HELLO, LOST, REFUSED, Iovox, Service, faults, to, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_accepted(service: Service, iovox: Iovox) -> None:
    response = await service.send(to(ACCEPTED, reference="order-42", expiry=3))
    body = response.json()
    assert response.status_code == 201
    assert body["status"] == "SUBMITTED"
    assert (body["segments"], body["encoding"], body["errors"]) == (1, "GSM-7", [])
    assert not body.keys() & {"warning", "reasons", "resend_of"}
    assert response.headers["location"] == f"/v1/messages/{body['id']}"
    (sent,) = await iovox.messages()
    assert sent["x_message_id"] == body["id"]
    assert sent["sms_activity_id"] == body["sms_activity_id"]
    assert (sent["destination"], sent["expiry"]) == ("447700900100", "3")
    await service.becomes(body["id"], "DELIVERED")
    history = (await service.look(body["id"]))["history"]
    assert [step["status"] for step in history] == ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]


TEXTS = ["& < > \" ' &amp; ]]>", "😀 \u00e9", "line\nline\r\nline\rline", "  outer  ", "x" * 160]


async def test_texts_arrive_unharmed(service: Service, iovox: Iovox) -> None:
    for text in TEXTS:
        assert (await service.send(to(ACCEPTED, message=text))).status_code == 201
    assert [message["message"] for message in await iovox.messages()] == TEXTS


async def test_a_text_that_is_not_gsm_has_a_warning(service: Service) -> None:
    body = (await service.send(to(ACCEPTED, message="It\u2019s 😀"))).json()
    assert (body["segments"], body["encoding"]) == (1, "UCS-2")
    assert "U+2019" in body["warning"]


async def test_refused_by_iovox_in_its_own_words(service: Service) -> None:
    response = await service.send(to(REFUSED))
    assert faults(response) == {"destination": "Destination Invalid: 447700900111"}
    body = response.json()
    assert body["type"] == "urn:iovox-receipts:problem:refused-by-iovox"
    assert response.headers["location"] == f"/v1/messages/{body['id']}"
    found = await service.look(body["id"])
    assert (found["status"], found["final"]) == ("REJECTED", True)
    assert found["errors"] == body["errors"]


async def test_several_refusals_at_once(scripted_service: Service, script: Scripted) -> None:
    script.answer = http(400, errors((400, "Origin Invalid: x"), (400, "Something new")))
    response = await scripted_service.send()
    assert faults(response) == {"origin": "Origin Invalid: x", "request": "Something new"}


async def test_an_invalid_request_is_not_stored(service: Service, iovox: Iovox) -> None:
    response = await service.send({"destination": "abc", "message": "", "expirey": 3})
    assert set(faults(response)) == {"origin", "destination", "message", "expirey"}
    assert "location" not in response.headers
    assert await service.states() == {}
    assert (await iovox.counts())["requests"] == 0


async def test_a_lost_response_ends_delivered_with_one_text(service: Service, iovox: Iovox) -> None:
    """Scenario 10. The receipt names our message, so it settles what the response did not."""
    response = await service.send(to(LOST))
    body = response.json()
    assert (response.status_code, body["status"]) == (202, "UNCONFIRMED")
    assert body["sms_activity_id"] is None
    await service.becomes(body["id"], "DELIVERED")
    found = await service.look(body["id"])
    assert found["sms_activity_id"] == (await iovox.messages())[0]["sms_activity_id"]
    assert (await iovox.counts())["attempts_by_message_id"] == {body["id"]: 1}


async def test_a_lost_response_with_a_late_receipt(service: Service, iovox: Iovox) -> None:
    await iovox.behave(receipt_delay=2.5)
    body = (await service.send(to(LOST))).json()
    assert (await service.look(body["id"]))["status"] == "UNCONFIRMED"
    listed = await service.client.get("/v1/messages", params={"status": "UNCONFIRMED"})
    assert [message["id"] for message in listed.json()["messages"]] == [body["id"]]
    await service.becomes(body["id"], "ACKNOWLEDGED", "DELIVERED")
    history = (await service.look(body["id"]))["history"]
    assert [step["status"] for step in history][:2] == ["UNCONFIRMED", "SUBMITTED"]
    assert (await iovox.counts())["accepted"] == 1


UNCLEAR = [
    http(502, "<html>"),
    http(504),
    http(500),
    http(201, "<html>"),
    http(201, "<response/>"),
]


async def test_an_unclear_response_is_unconfirmed_and_never_sent_again(
    scripted_service: Service, script: Scripted
) -> None:
    for unclear in UNCLEAR:
        script.answer = unclear
        response = await scripted_service.send()
        body = response.json()
        assert (response.status_code, body["status"]) == (202, "UNCONFIRMED")
        history = (await scripted_service.look(body["id"]))["history"]
        assert history[-1]["reasons"] == body["reasons"] != []
    await asyncio.sleep(1.2)
    assert len(script.bodies) == len(UNCLEAR)


async def test_an_id_that_is_another_messages_is_unconfirmed(
    scripted_service: Service, script: Scripted
) -> None:
    same = f"<response><sms_activity_id>{uuid4()}</sms_activity_id></response>"
    script.answer = http(201, same)
    first, second = await scripted_service.send(), await scripted_service.send()
    assert first.status_code == 201
    assert (second.status_code, second.json()["status"]) == (202, "UNCONFIRMED")
    assert "another message's" in second.json()["reasons"][0]
    assert (await scripted_service.look(first.json()["id"]))["status"] == "SUBMITTED"
    assert (await scripted_service.look(second.json()["id"]))["sms_activity_id"] is None


@pytest.mark.direct  # /metrics
async def test_credentials_that_iovox_refuses_are_retried_and_counted(
    scripted_service: Service, script: Scripted
) -> None:
    script.answer = http(401, errors((401, "HTTP 401: Unauthorized")))
    response = await scripted_service.send()
    assert (response.status_code, response.json()["status"]) == (202, "QUEUED")
    assert "401" in response.json()["reasons"][0]
    metrics = (await scripted_service.client.get("/metrics")).text
    assert "dlr_iovox_credentials_refused_total 1.0" in metrics
    script.answer = http(201, f"<response><sms_activity_id>{uuid4()}</sms_activity_id></response>")
    await scripted_service.becomes(response.json()["id"], "SUBMITTED")


BODIES = [
    ("empty", b"", 400),
    ("not JSON", b"{", 400),
    ("not UTF-8", b"\xff\xfe", 400),
    ("NaN", b'{"expiry": NaN}', 400),
    ("too deep", b"[" * 50_000, 400),
    ("deep", b'{"a":' * 300 + b"1" + b"}" * 300, 422),
    ("a list", b"[]", 422),
    ("null", b"null", 422),
    ("too large", b'"' + b"x" * (4 * 1024 * 1024) + b'"', 413),
    ("an infinite number", b'{"expiry": 1e999}', 422),
    ("a lone surrogate", b'{"message": "\\ud800", "\\udfff": 1}', 422),
    ("NUL", b'{"message": "\\u0000", "\\u0000": 1}', 422),
]


@pytest.mark.parametrize("key", ["", "with a key"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/batch"])
async def test_invalid_bodies(service: Service, path: str, key: str) -> None:
    for name, body, status in BODIES:
        headers = {"Idempotency-Key": f"{name} {uuid4()}"} if key else {}
        response = await service.client.post(path, content=body, headers=headers)
        assert response.status_code == status, f"{name}: {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    assert await service.states() == {}


async def test_a_body_of_exactly_the_limit_is_read(service: Service) -> None:
    body = json.dumps(HELLO).encode().ljust(64 * 1024)
    assert (await service.client.post("/v1/messages", content=body)).status_code == 201
    assert (await service.client.post("/v1/messages", content=body + b" ")).status_code == 413


KEYS: list[tuple[str, str | bytes, int]] = [
    ("none", "", 401),
    ("a wrong one", "Bearer dlr_wrong", 401),
    ("one of bytes", b"Bearer \xff\xfe", 401),
]


@pytest.mark.parametrize(("key", "status"), [c[1:] for c in KEYS], ids=[c[0] for c in KEYS])
async def test_authentication_comes_before_the_body(
    service: Service, key: str, status: int
) -> None:
    headers = {"Authorization": key}
    for path in ("/v1/messages", "/v1/messages/batch", "/v1/messages/x/resend"):
        response = await service.client.post(path, content=b"{", headers=headers)
        assert response.status_code == status
    assert (await service.client.delete("/v1/messages/x", headers=headers)).status_code == status


async def test_a_key_without_the_scope(service: Service) -> None:
    assert faults(await service.send(**await service.key("billing", "read")), 403) == {}


async def test_other_methods(service: Service) -> None:
    response = await service.client.request("PUT", "/v1/messages")
    assert response.status_code == 405
    assert "POST" in response.headers["allow"]


async def test_a_caller_that_disconnects_does_not_cancel_the_attempt(
    service: Service, iovox: Iovox
) -> None:
    await iovox.behave(answer_delay=0.5)
    with pytest.raises(httpx.ReadTimeout):
        await service.client.post("/v1/messages", json=HELLO, timeout=0.2)

    async def submitted() -> bool:
        return await service.states() == {"SUBMITTED": 1}

    await until(submitted, "the attempt to end")
