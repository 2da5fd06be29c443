"""Webhooks end to end: what a receiver gets, whatever it does with it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime, timedelta

import pytest
from standardwebhooks.webhooks import WebhookVerificationError

from .receiver import Answer, Json, Receiver, always, receiving
from .world import World, serving, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK: Json = {
    "queue_workers": True,
    "webhook_allow_http": True,
    "webhook_allowed_networks": "127.0.0.0/8",
    "webhook_timeout": 1.0,
    "webhook_first_retry": 0.05,
    "webhook_longest_retry": 0.4,
}


@pytest.fixture(scope="module")
def settings() -> Json:
    return QUICK


async def a_moment() -> None:
    """Between two looks: without it they would keep the machine from what they wait for."""
    await asyncio.sleep(0.02)


async def subscribe(world: World, key: dict[str, str], url: str, **fields: object) -> Json:
    answer = await world.client.post("/v1/webhooks", headers=key, json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    created: Json = answer.json()
    return created


async def look(world: World, key: dict[str, str], webhook: Json) -> Json:
    answer = await world.client.get(f"/v1/webhooks/{webhook['id']}", headers=key)
    found: Json = answer.json()
    return found


async def deliveries(
    world: World, key: dict[str, str], webhook: Json, **filters: str
) -> list[Json]:
    path = f"/v1/webhooks/{webhook['id']}/deliveries"
    answer = await world.client.get(path, headers=key, params=filters)
    found: list[Json] = answer.json()["deliveries"]
    return found


async def test_a_receiver_is_told_how_a_message_ended(world: World, receiver: Receiver) -> None:
    key = await world.key()
    await world.submitted()
    webhook = await subscribe(world, key, receiver.url)
    (message,) = await world.submitted(reference="order-42")
    await world.receive("ACKNOWLEDGED", message)
    await world.receive("DELIVERED", message, second=2)
    (call,) = await receiver.until(1)
    events = (await world.client.get("/v1/events", headers=key)).json()["events"]
    assert call.payload == {
        "type": "message.delivered",
        "timestamp": events[-1]["at"],
        "data": events[-1],
    }
    call.verify(webhook["secret"])
    assert call.headers["content-type"] == "application/json"
    (delivery,) = await deliveries(world, key, webhook)
    assert delivery["id"] == call.id
    assert (delivery["event_id"], delivery["message_id"]) == (events[-1]["id"], str(message.id))
    assert delivery["payload"] == call.payload


# The subscription, what it is told of a late failure, and of a late delivery.
WANTED = [
    ("by default", {}, "delivered contradicted", "failed delivered"),
    ("delivered", {"statuses": ["DELIVERED"]}, "delivered contradicted", "delivered"),
    ("two kinds", {"statuses": ["failed,contradicted"]}, "contradicted", "failed delivered"),
    ("contradicted", {"statuses": ["CONTRADICTED"]}, "contradicted", "delivered"),
    ("failed", {"statuses": ["FAILED"]}, "", "failed"),
]


@pytest.mark.parametrize(
    ("asked", "of_late", "of_early"), [pytest.param(*row[1:], id=row[0]) for row in WANTED]
)
async def test_a_late_failure_is_told(
    world: World, receiver: Receiver, asked: Json, of_late: str, of_early: str
) -> None:
    key = await world.key()
    await subscribe(world, key, receiver.url, **asked)
    late, early = await world.submitted(2)
    await world.receive("DELIVERED", late)
    for second in (2, 2, 3):
        await world.receive("FAILED", late, second=second)
    await world.receive("FAILED", early)
    await world.receive("DELIVERED", early)
    calls = await receiver.until(len(f"{of_late} {of_early}".split()))
    for message, expected in ((late, of_late), (early, of_early)):
        mine = [call for call in calls if call.data["message_id"] == str(message.id)]
        assert [call.payload["type"] for call in mine] == [
            f"message.{kind}" for kind in expected.split()
        ]
        for call in mine:
            is_so = message is early or call.payload["type"] == "message.contradicted"
            is_so &= call.data["status"] == "DELIVERED"
            assert call.data["contradictory"] is is_so
    events = (await world.client.get("/v1/events", headers=key)).json()["events"]
    assert all(call.data in events for call in calls)


async def test_every_status_in_order_per_message(world: World, receiver: Receiver) -> None:
    key = await world.key()
    receiver.decide = lambda _: Answer(delay=0.02)
    statuses = ["SUBMITTED", "ACKNOWLEDGED", "BUFFERED", "DELIVERED"]
    await subscribe(world, key, receiver.url, statuses=statuses)
    messages = await world.submitted(30)
    for second, status in enumerate(statuses[1:], start=1):
        await world.receive(status, *messages, second=second)
    await receiver.until(120)
    assert {tuple(receiver.statuses_of(m.id)) for m in messages} == {tuple(statuses)}
    assert receiver.most_at_once > 1, "one after the other"
    assert len(receiver.calls) == 120, "something was sent twice"


async def test_only_an_apps_own_events(world: World, receiver: Receiver) -> None:
    async with receiving() as theirs, receiving() as all_of_them:
        await subscribe(world, await world.key("billing"), receiver.url)
        await subscribe(world, await world.key("support"), theirs.url)
        await subscribe(world, await world.key("ops", "admin"), all_of_them.url)
        for app in ("billing", "support"):
            await world.reject(*await world.messages(2, app=app, reference=app))
        await all_of_them.until(4)
        await receiver.until(2)
        await theirs.until(2)
        assert {call.data["reference"] for call in receiver.calls} == {"billing"}
        assert {call.data["reference"] for call in theirs.calls} == {"support"}


async def test_a_receiver_that_hangs_does_not_slow_the_others(world: World) -> None:
    key = await world.key()
    async with receiving(lambda _: Answer(hangs=True)) as slow, receiving() as quick:
        await subscribe(world, key, slow.url)
        await subscribe(world, key, quick.url)
        for _ in range(5):
            messages = await world.messages(20)
            await world.reject(*messages)
        began = [call.came_at for call in await quick.until(100)]
        assert slow.calls
        # Eight at once behind a receiver that takes its second each time would need twelve.
        assert max(began) - min(began) < 8


FAULTS = {
    "500": Answer(500),
    "404": Answer(404),
    "a redirect": Answer(301, {"Location": "/elsewhere"}),
    "a temporary redirect": Answer(307, {"Location": "/elsewhere"}),
    "time out": Answer(hangs=True),
    "429 in a second": Answer(429, {"Retry-After": "1"}),
    "503 with nonsense": Answer(503, {"Retry-After": "soon"}),
    "a body without end": Answer(500, body=b"x" * 2_000_000),
}


async def test_receivers_that_fail_for_a_while(world: World) -> None:
    """All at once, so that none of them may hold up another."""
    key = await world.key()
    statuses = ["SUBMITTED", "ACKNOWLEDGED", "DELIVERED"]
    async with AsyncExitStack() as stack:
        receivers: dict[str, tuple[Receiver, Json]] = {}
        for fault, answer in FAULTS.items():
            receiver = await stack.enter_async_context(receiving(always(answer)))
            receivers[fault] = (
                receiver,
                await subscribe(world, key, receiver.url, statuses=statuses),
            )
        messages = await world.submitted(5)
        await world.receive("ACKNOWLEDGED", *messages)
        for fault, (receiver, webhook) in receivers.items():
            await receiver.until_called(6)
            while not (failing := await look(world, key, webhook))["failing_since"]:
                await a_moment()
            assert (failing["state"], receiver.taken) == ("ACTIVE", []), fault
        await world.receive("DELIVERED", *messages, second=2)
        for receiver, _ in receivers.values():
            receiver.decide = lambda _: Answer(204, body=b"")
        for fault, (receiver, webhook) in receivers.items():
            await receiver.until(15)
            told = {tuple(receiver.statuses_of(message.id)) for message in messages}
            assert told == {tuple(statuses)}, fault
            assert {call.path for call in receiver.calls} == {"/events"}, "a redirect was followed"
            for call in receiver.calls:
                call.verify(webhook["secret"])
            while (await look(world, key, webhook))["failing_since"]:
                await a_moment()


async def test_each_attempt_is_told(world: World) -> None:
    key = await world.key()
    answers = [
        Answer(500, body=b"<b>out of\x00 order</b>"),
        Answer(hangs=True),
        Answer(204, body=b""),
        Answer(200, body="\u20ac".encode() * 600),
    ]
    async with receiving(lambda _: answers.pop(0)) as receiver:
        webhook = await subscribe(world, key, receiver.url)
        await world.reject(*await world.messages(1))
        while not (found := await deliveries(world, key, webhook, state="DELIVERED")):
            await a_moment()
        (delivery,) = found
        path = f"/v1/webhooks/{webhook['id']}/deliveries/{delivery['id']}"
        assert {each["response"] for each in delivery["attempt_log"]} == {None}  # for admins
        admin = await world.key("ops", "admin")
        delivery = (await world.client.get(path, headers=admin)).json()
        log = delivery["attempt_log"]
        assert [(each["status_code"], each["error"], each["response"]) for each in log] == [
            (500, "it answered 500", "<b>out of\ufffd order</b>"),
            (None, "it did not answer within 1 s", None),
            (204, None, None),
        ]
        assert log[0]["took_ms"] < 1_000 <= log[1]["took_ms"]
        times = [datetime.fromisoformat(each["at"]) for each in log]
        assert times == sorted(times)
        assert times[2] - times[1] >= timedelta(seconds=1)
        assert delivery["attempts"] == 3
        await world.client.post(f"{path}/replay", headers=key)
        while not await deliveries(world, key, webhook, state="DELIVERED"):
            await a_moment()
        again = (await world.client.get(path, headers=admin)).json()
        assert again["attempts"] == 1
        assert again["attempt_log"][:3] == log
        assert again["attempt_log"][3]["response"] == "\u20ac" * 500


async def test_the_asked_time_is_given(world: World) -> None:
    """To everything, not only to what was answered with it: it is the receiver that is busy."""
    key = await world.key()
    async with receiving(lambda _: Answer(429, {"Retry-After": "2"})) as receiver:
        await subscribe(world, key, receiver.url)
        await world.reject(*await world.messages(1))
        await until(lambda: receiver.calls, "the first attempt")
        receiver.decide = lambda _: Answer()
        await world.reject(*await world.messages(3))
        calls = await receiver.until(4)
        assert calls[0].came_at - receiver.calls[0].came_at >= 1.9


async def test_gone_ends_it(world: World) -> None:
    key = await world.key()
    async with receiving(lambda _: Answer(410)) as receiver:
        webhook = await subscribe(world, key, receiver.url)
        await world.reject(*await world.messages(1))
        await until(lambda: receiver.calls, "the attempt")
        while (ended := await look(world, key, webhook))["state"] != "ENDED":
            assert len(receiver.calls) == 1
            await a_moment()
        assert "410" in ended["reason"]
        await world.reject(*await world.messages(1))
        asked: list[tuple[str, str, dict[str, object]]] = [
            ("", "PATCH", {"paused": False}),
            ("/test", "POST", {}),
            ("/replay", "POST", {"state": "CANCELLED"}),
        ]
        for path, method, body in asked:
            answer = await world.client.request(
                method,
                f"/v1/webhooks/{webhook['id']}{path}",
                headers=key,
                json=body,
            )
            assert answer.status_code == 409, answer.text
        assert len(receiver.calls) == 1
        (delivery,) = await deliveries(world, key, webhook)
        assert delivery["status_code"] == 410
        assert delivery["state"] == "CANCELLED"


async def test_days_of_failure_pause_it_and_resuming_loses_nothing(database_url: str) -> None:
    async with (
        serving(database_url, **QUICK | {"webhook_give_up_after": 1.0}) as world,
        receiving(lambda _: Answer(500)) as receiver,
    ):
        key = await world.key()
        webhook = await subscribe(world, key, receiver.url)
        await world.reject(*await world.messages(3))
        while (paused := await look(world, key, webhook))["state"] == "ACTIVE":
            assert paused["reason"] is None
            await a_moment()
        assert (paused["state"], paused["paused"]) == ("PAUSED", True)
        assert "it answered 500" in paused["reason"]
        calls = len(receiver.calls)
        receiver.decide = lambda _: Answer()
        await world.reject(*await world.messages(2))
        assert len(receiver.calls) == calls
        answer = await world.client.patch(
            f"/v1/webhooks/{webhook['id']}", headers=key, json={"paused": False}
        )
        assert (answer.json()["state"], answer.json()["reason"]) == ("ACTIVE", None)
        await receiver.until(5)


async def test_what_it_cannot_stomach_is_given_up_and_holds_up_nothing_else(
    database_url: str,
) -> None:
    async with (
        serving(database_url, **QUICK | {"webhook_give_up_after": 1.5}) as world,
        receiving() as receiver,
    ):
        key = await world.key()
        webhook = await subscribe(world, key, receiver.url)
        receiver.decide = lambda call: Answer(500 if call.data["reference"] == "bad" else 200)
        await world.reject(*await world.messages(1, reference="bad"))
        given_up: list[Json] = []
        others = 0
        while not given_up:
            await world.reject(*await world.messages(1))
            others += 1
            await asyncio.sleep(0.1)
            given_up = await deliveries(world, key, webhook, state="FAILED")
        await receiver.until(others)
        assert given_up[0]["payload"]["data"]["reference"] == "bad"
        assert given_up[0]["error"] == "it answered 500"
        assert given_up[0]["next_attempt_at"] is None
        assert (await look(world, key, webhook))["state"] == "ACTIVE"


async def test_a_pause_holds_back_and_loses_nothing(world: World, receiver: Receiver) -> None:
    key = await world.key()
    webhook = await subscribe(world, key, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    paused = (await world.client.patch(path, headers=key, json={"paused": True})).json()
    assert (paused["paused"], paused["reason"]) == (True, "paused by its owner")
    await world.reject(*await world.messages(3))
    await world.client.patch(path, headers=key, json={"statuses": ["REJECTED"]})
    assert receiver.calls == []
    await world.client.patch(path, headers=key, json={"paused": False})
    await receiver.until(3)


async def test_another_url_is_used_from_then_on(world: World, receiver: Receiver) -> None:
    key = await world.key()
    async with receiving() as other:
        webhook = await subscribe(world, key, receiver.url)
        await world.reject(*await world.messages(1))
        await receiver.until(1)
        await world.client.patch(
            f"/v1/webhooks/{webhook['id']}", headers=key, json={"url": other.url}
        )
        await world.reject(*await world.messages(2))
        await other.until(2)
        assert len(receiver.calls) == 1


async def test_both_secrets_sign_for_a_while(world: World, receiver: Receiver) -> None:
    key = await world.key()
    webhook = await subscribe(world, key, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    rotated = (await world.client.post(f"{path}/secret", headers=key)).json()
    assert rotated["secret"].startswith("whsec_")
    assert rotated["secret"] != webhook["secret"]
    assert rotated["previous_secret_until"]
    await world.reject(*await world.messages(1))
    (call,) = await receiver.until(1)
    call.verify(webhook["secret"])
    call.verify(rotated["secret"])
    await world.client.post(f"{path}/secret", headers=key)
    await world.reject(*await world.messages(1))
    call = (await receiver.until(2))[-1]
    call.verify(rotated["secret"])
    with pytest.raises(WebhookVerificationError):
        call.verify(webhook["secret"])
    call.body += b" "
    with pytest.raises(WebhookVerificationError):
        call.verify(rotated["secret"])


async def test_a_test_event(world: World, receiver: Receiver) -> None:
    key = await world.key()
    webhook = await subscribe(world, key, receiver.url)
    answer = await world.client.post(f"/v1/webhooks/{webhook['id']}/test", headers=key)
    assert answer.status_code == 202
    (call,) = await receiver.until(1)
    call.verify(webhook["secret"])
    assert call.payload["type"] == "webhook.test"
    assert answer.json()["id"] == call.id
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{call.id}"
    while (told := (await world.client.get(path, headers=key)).json())["state"] == "PENDING":
        await a_moment()
    assert (told["state"], told["attempts"], told["status_code"]) == ("DELIVERED", 1, 200)


async def all_recorded(world: World, key: dict[str, str], webhook: Json) -> None:
    while any(d["state"] != "DELIVERED" for d in await deliveries(world, key, webhook)):
        await a_moment()


async def test_replays(world: World, receiver: Receiver) -> None:
    key = await world.key()
    webhook = await subscribe(world, key, receiver.url)
    path = f"/v1/webhooks/{webhook['id']}"
    messages = await world.messages(5)
    for message in messages:
        await world.reject(message)
    await receiver.until(5)
    await all_recorded(world, key, webhook)
    listed = (await deliveries(world, key, webhook))[::-1]
    assert [d["message_id"] for d in listed] == [str(message.id) for message in messages]
    receiver.calls.clear()

    answer = await world.client.post(f"{path}/deliveries/{listed[2]['id']}/replay", headers=key)
    assert answer.status_code == 202
    (again,) = await receiver.until(1)
    assert (again.id, again.payload) == (listed[2]["id"], listed[2]["payload"])
    again.verify(webhook["secret"])

    for bounds, expected in (
        ({"after": listed[1]["event_id"]}, listed[2:]),
        ({"until": listed[1]["event_id"]}, listed[:2]),
        ({"after": listed[0]["event_id"], "until": listed[3]["event_id"]}, listed[1:4]),
        ({"from": listed[3]["payload"]["data"]["recorded_at"]}, listed[3:]),
        ({"to": listed[3]["payload"]["data"]["recorded_at"]}, listed[:3]),
        ({"state": "FAILED"}, []),
    ):
        # One that is replayed before its last attempt is recorded is rightly sent twice.
        await all_recorded(world, key, webhook)
        receiver.calls.clear()
        answer = await world.client.post(f"{path}/replay", headers=key, json=bounds)
        assert answer.status_code == 202, answer.text
        assert answer.json() == {"replayed": len(expected), "next": None}
        calls = await receiver.until(len(expected))
        assert {call.id for call in calls} == {each["id"] for each in expected}
