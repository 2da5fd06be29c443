"""Scheduled sends, cancellations and resends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.send.world import ACCEPTED, LOST, REFUSED, Iovox, Service, faults, to

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ahead(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


async def test_sent_at_the_scheduled_time(service: Service, iovox: Iovox) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    response = await service.send(to(ACCEPTED, send_at=due.isoformat(), expiry=5))
    assert (response.status_code, response.json()["status"]) == (202, "QUEUED")
    found = await service.look(response.json()["id"])
    assert found["send_at"] == due.isoformat().replace("+00:00", "Z")
    assert found["expires_at"] == (due + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    await service.becomes(response.json()["id"], "DELIVERED")
    (sent,) = await iovox.messages()
    late = (datetime.fromisoformat(sent["received_at"]) - due).total_seconds()
    assert 0 <= late < 1
    assert sent["expiry"] == "5"


OUT_OF_RANGE = [
    ("past", {"seconds": -1}),
    ("beyond the horizon", {"days": 30, "seconds": 60}),
]


@pytest.mark.parametrize("span", [c[1] for c in OUT_OF_RANGE], ids=[c[0] for c in OUT_OF_RANGE])
async def test_out_of_range(service: Service, span: dict[str, float]) -> None:
    assert faults(await service.send(to(ACCEPTED, send_at=ahead(**span)))).keys() == {"send_at"}


@pytest.mark.parametrize("span", [c[1] for c in OUT_OF_RANGE], ids=[c[0] for c in OUT_OF_RANGE])
async def test_out_of_range_beside_other_faults(service: Service, span: dict[str, float]) -> None:
    wrong = to(ACCEPTED, send_at=ahead(**span), message="", colour="red")
    named = faults(await service.send(wrong))
    assert named.keys() == {"send_at", "message", "colour"}
    assert named["send_at"].startswith("lies ")
    batch = await service.client.post("/v1/messages/batch", json={"messages": [wrong]})
    (item,) = batch.json()["messages"]
    assert {each["field"]: each["message"] for each in item["errors"]} == named


async def test_without_an_offset(service: Service) -> None:
    naive = ahead(days=1).partition("+")[0]
    assert "offset" in faults(await service.send(to(ACCEPTED, send_at=naive)))["send_at"]


async def test_cancelled_while_queued(service: Service, iovox: Iovox) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(seconds=1)))).json()
    path = f"/v1/messages/{sent['id']}"
    responses = await asyncio.gather(*(service.client.delete(path) for _ in range(5)))
    assert sorted(response.status_code for response in responses) == [200, 409, 409, 409, 409]
    (cancelled,) = [response for response in responses if response.status_code == 200]
    assert cancelled.json() == {"id": sent["id"], "status": "CANCELLED"}
    refused = next(response for response in responses if response.status_code == 409)
    assert refused.json()["type"] == "urn:iovox-receipts:problem:conflict"
    await asyncio.sleep(1.5)
    found = await service.look(sent["id"])
    assert (found["status"], found["final"]) == ("CANCELLED", True)
    assert [step["status"] for step in found["history"]] == ["QUEUED", "CANCELLED"]
    assert (await iovox.counts())["requests"] == 0


@pytest.mark.parametrize("ending", [ACCEPTED, REFUSED, LOST])
async def test_only_queued_messages_can_be_cancelled(service: Service, ending: str) -> None:
    sent = await service.send(to(ending))
    response = await service.client.delete(sent.headers["location"])
    assert faults(response, 409) == {}
    state = (await service.look(sent.json()["id"]))["status"]
    assert state != "CANCELLED"


_UNUSED = "0193e0c4-7d1a-7c2b-9f6e-2b1d5c3a4e5f"
UNKNOWN = ["not-an-id", _UNUSED, f"{{{_UNUSED}}}", _UNUSED.replace("-", ""), "%00", "\u00e9"]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_unknown_ids(service: Service, name: str) -> None:
    assert faults(await service.client.delete(f"/v1/messages/{name}"), 404) == {}
    assert faults(await service.post(f"/v1/messages/{name}/resend"), 404) == {}


async def test_another_apps_message_is_visible_to_an_admin_only(service: Service) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(hours=1)))).json()
    path = f"/v1/messages/{sent['id']}"
    stranger, admin = await service.key("other", "send"), await service.key("ops", "admin")
    for refused in (
        await service.client.delete(path, headers=stranger),
        await service.post(f"{path}/resend", **stranger),
    ):
        assert faults(refused, 404) == {}
        assert sent["id"] not in refused.text
    assert (await service.client.delete(path, headers=admin)).status_code == 200


async def test_a_resend_is_a_new_message(service: Service, iovox: Iovox) -> None:
    first = to(LOST, reference="order-42", expiry=30, c2c_failover_link_id="123456")
    await iovox.behave(receipts=False)
    old = (await service.send(first)).json()
    again = await service.post(f"/v1/messages/{old['id']}/resend")
    new = again.json()
    assert again.status_code == 202  # its response is lost, too
    assert new["resend_of"] == old["id"] != new["id"]
    assert again.headers["location"] == f"/v1/messages/{new['id']}"
    assert (await service.look(new["id"]))["resend_of"] == old["id"]
    found = await service.look(old["id"])
    assert found["resent_as"] == [new["id"]]
    assert found["status"] == "UNCONFIRMED"
    sent = await iovox.messages()
    assert [message["x_message_id"] for message in sent] == [old["id"], new["id"]]
    alike = ("message", "destination", "origin", "c2c_failover_link_id", "expiry")
    first_time, second_time = ([message[name] for name in alike] for message in sent)
    assert first_time == second_time
    await iovox.behave(receipts=True)


async def test_a_resend_has_no_fields(service: Service) -> None:
    path = f"/v1/messages/{(await service.send()).json()['id']}/resend"
    assert set(faults(await service.post(path, {"expiry": 1, "x": 1}))) == {"expiry", "x"}
    assert set(faults(await service.post(path, []))) == {"body"}
    assert (await service.post(path, {})).status_code == 201
    assert (await service.post(path)).status_code == 201


async def test_an_admin_resends_for_the_app(service: Service) -> None:
    old = (await service.send()).json()
    admin = await service.key("ops", "admin")
    key = {"idempotency_key": f"{uuid4()}", **admin}
    new = (await service.post(f"/v1/messages/{old['id']}/resend", **key)).json()
    assert (await service.look(new["id"]))["app"] == service.app
    same = await service.post(f"/v1/messages/{old['id']}/resend", **key)
    assert same.headers["idempotency-replayed"] == "true"
    # The key is the admin's own, not the app's.
    assert (await service.send(idempotency_key=key["idempotency_key"])).status_code == 201


async def test_a_queued_message_cannot_be_resent(service: Service) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(hours=1)))).json()
    response = await service.post(f"/v1/messages/{sent['id']}/resend")
    assert faults(response, 409) == {}
    assert "QUEUED" in response.json()["detail"]


async def test_a_cancelled_message_can_be_resent(service: Service) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(hours=1)))).json()
    await service.client.delete(f"/v1/messages/{sent['id']}")
    response = await service.post(f"/v1/messages/{sent['id']}/resend")
    assert response.status_code == 201
