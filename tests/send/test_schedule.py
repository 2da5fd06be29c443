"""Messages that wait, that are taken back, and that are sent again on purpose."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.send.world import ACCEPTED, LOST, REFUSED, Iovox, Service, faults, to

pytestmark = pytest.mark.asyncio(loop_scope="module")


def ahead(**span: float) -> str:
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


async def test_sent_when_it_was_to_be_sent(service: Service, iovox: Iovox) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.5)
    answer = await service.send(to(ACCEPTED, send_at=due.isoformat(), expiry=5))
    assert (answer.status_code, answer.json()["status"]) == (202, "QUEUED")
    found = await service.look(answer.json()["id"])
    assert found["send_at"] == due.isoformat().replace("+00:00", "Z")
    assert found["expires_at"] == (due + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    await service.becomes(answer.json()["id"], "DELIVERED")
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


async def test_without_an_offset(service: Service) -> None:
    naive = ahead(days=1).partition("+")[0]
    assert "offset" in faults(await service.send(to(ACCEPTED, send_at=naive)))["send_at"]


async def test_taken_back_while_it_is_queued(service: Service, iovox: Iovox) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(seconds=1)))).json()
    path = f"/v1/messages/{sent['id']}"
    answers = await asyncio.gather(*(service.client.delete(path) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    (taken,) = [answer for answer in answers if answer.status_code == 200]
    assert taken.json() == {"id": sent["id"], "status": "CANCELLED"}
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["type"] == "urn:iovox-receipts:problem:conflict"
    await asyncio.sleep(1.5)
    found = await service.look(sent["id"])
    assert (found["status"], found["final"]) == ("CANCELLED", True)
    assert [step["status"] for step in found["history"]] == ["QUEUED", "CANCELLED"]
    assert (await iovox.counts())["requests"] == 0


@pytest.mark.parametrize("ending", [ACCEPTED, REFUSED, LOST])
async def test_what_is_beyond_the_queue_cannot_be_taken_back(service: Service, ending: str) -> None:
    sent = await service.send(to(ending))
    answer = await service.client.delete(sent.headers["location"])
    assert faults(answer, 409) == {}
    state = (await service.look(sent.json()["id"]))["status"]
    assert state != "CANCELLED"


_NOBODY = "0193e0c4-7d1a-7c2b-9f6e-2b1d5c3a4e5f"
UNKNOWN = ["not-an-id", _NOBODY, f"{{{_NOBODY}}}", _NOBODY.replace("-", ""), "%00", "\u00e9"]


@pytest.mark.parametrize("name", UNKNOWN)
async def test_what_does_not_exist(service: Service, name: str) -> None:
    assert faults(await service.client.delete(f"/v1/messages/{name}"), 404) == {}
    assert faults(await service.post(f"/v1/messages/{name}/resend"), 404) == {}


async def test_another_apps_message_does_not_exist_but_to_an_admin(service: Service) -> None:
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


async def test_sent_again_on_purpose(service: Service, iovox: Iovox) -> None:
    first = to(LOST, reference="order-42", expiry=30, c2c_failover_link_id="123456")
    await iovox.behave(receipts=False)
    old = (await service.send(first)).json()
    again = await service.post(f"/v1/messages/{old['id']}/resend")
    new = again.json()
    assert again.status_code == 202  # its answer is lost, too
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


async def test_there_is_nothing_to_say_of_a_resend(service: Service) -> None:
    path = f"/v1/messages/{(await service.send()).json()['id']}/resend"
    assert set(faults(await service.post(path, {"expiry": 1, "x": 1}))) == {"expiry", "x"}
    assert set(faults(await service.post(path, []))) == {"body"}
    assert (await service.post(path, {})).status_code == 201
    assert (await service.post(path)).status_code == 201


async def test_an_admin_sends_again_for_the_app(service: Service) -> None:
    old = (await service.send()).json()
    admin = await service.key("ops", "admin")
    key = {"idempotency_key": f"{uuid4()}", **admin}
    new = (await service.post(f"/v1/messages/{old['id']}/resend", **key)).json()
    assert (await service.look(new["id"]))["app"] == service.app
    same = await service.post(f"/v1/messages/{old['id']}/resend", **key)
    assert same.headers["idempotency-replayed"] == "true"
    # The key is the admin's own, not the app's.
    assert (await service.send(idempotency_key=key["idempotency_key"])).status_code == 201


async def test_what_was_not_sent_yet_is_not_sent_again(service: Service) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(hours=1)))).json()
    answer = await service.post(f"/v1/messages/{sent['id']}/resend")
    assert faults(answer, 409) == {}
    assert "QUEUED" in answer.json()["detail"]


async def test_what_was_taken_back_can_be_sent_after_all(service: Service) -> None:
    sent = (await service.send(to(ACCEPTED, send_at=ahead(hours=1)))).json()
    await service.client.delete(f"/v1/messages/{sent['id']}")
    answer = await service.post(f"/v1/messages/{sent['id']}/resend")
    assert answer.status_code == 201
