"""``/v1/webhooks``: made, shown, changed and deleted; and what bad input gets."""

from __future__ import annotations

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import update

from app.model.event import event_id
from app.store.keys import KeyStore
from app.store.tables import webhooks
from app.webhooks.requests import BY_DEFAULT

from .world import World, fields, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "https://billing.example.com/events?token=a"
PATH = "/v1/webhooks"


async def test_a_webhook_from_beginning_to_end(world: World) -> None:
    key = await world.key("billing")
    made = await world.client.post(PATH, headers=key, json={"url": URL})
    assert made.status_code == 201, made.text
    webhook = made.json()
    secret = webhook.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    assert webhook | {"id": None, "created_at": None} == {
        "id": None,
        "app": world.app("billing"),
        "url": URL,
        "statuses": list(BY_DEFAULT),
        "paused": False,
        "state": "ACTIVE",
        "reason": None,
        "created_at": None,
        "key_id": webhook["key_id"],
        "key_revoked": False,
        "failing_since": None,
        "not_before": None,
        "previous_secret_until": None,
    }
    one = made.headers["location"]
    assert one == f"{PATH}/{webhook['id']}"
    assert (await world.client.get(one, headers=key)).json() == webhook
    assert (await world.client.get(PATH, headers=key)).json() == {"webhooks": [webhook]}
    change = {"url": "https://other.example.com/", "statuses": ["delivered", "FAILED"]}
    changed = (await world.client.patch(one, headers=key, json=change)).json()
    assert changed == webhook | {"url": change["url"], "statuses": ["FAILED", "DELIVERED"]}
    assert (await world.client.patch(one, headers=key, json={})).json() == changed
    gone = await world.client.delete(one, headers=key)
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-type" not in gone.headers
    assert (await world.client.get(one, headers=key)).status_code == 404
    assert (await world.client.get(PATH, headers=key)).json() == {"webhooks": []}


async def test_another_apps_webhook_does_not_exist(world: World) -> None:
    owner, other, admin = (
        await world.key("billing"), await world.key("support"), await world.key("ops", "admin"),
    )  # fmt: skip
    mine = (await world.client.post(PATH, headers=owner, json={"url": URL})).json()
    of_all = (await world.client.post(PATH, headers=admin, json={"url": URL})).json()
    chosen = {"url": URL, "app": world.app("support")}
    for_other = (await world.client.post(PATH, headers=admin, json=chosen)).json()
    assert (of_all["app"], for_other["app"]) == (None, world.app("support"))
    delivery = f"/deliveries/{uuid4()}"
    requests: tuple[tuple[str, str, object], ...] = (
        ("GET", "", None), ("PATCH", "", {"paused": True}), ("DELETE", "", None),
        ("POST", "/secret", None), ("POST", "/test", None), ("GET", "/deliveries", None),
        ("GET", delivery, None), ("POST", delivery + "/replay", None),
        ("POST", "/replay", {"state": "FAILED"}),
    )  # fmt: skip
    for webhook in (mine["id"], of_all["id"], str(uuid4()), "nonsense", "%00", "\u0661"):
        for method, path, body in requests:
            answer = await world.client.request(
                method, f"{PATH}/{webhook}{path}", headers=other, json=body
            )
            assert answer.status_code == 404, (method, path, webhook, answer.text)
    seen = {}
    for name, key in (("owner", owner), ("other", other), ("admin", admin)):
        found = (await world.client.get(PATH, headers=key)).json()["webhooks"]
        seen[name] = {webhook["id"] for webhook in found}
    assert seen == {
        "owner": {mine["id"]},
        "other": {for_other["id"]},
        "admin": {mine["id"], of_all["id"], for_other["id"]},
    }


NOT_OURS = {
    "no body of fields": ([], ["body"]),
    "nothing": ({}, ["url"]),
    "null": ({"url": None}, ["url"]),
    "a number": ({"url": 1}, ["url"]),
    "no URL": ({"url": "billing"}, ["url"]),
    "empty": ({"url": ""}, ["url"]),
    "http": ({"url": "http://billing.example.com/"}, ["url"]),
    "another scheme": ({"url": "file:///etc/passwd"}, ["url"]),
    "no host": ({"url": "https:///events"}, ["url"]),
    "a password": ({"url": "https://me:secret@billing.example.com/"}, ["url"]),
    "a fragment": ({"url": "https://billing.example.com/#here"}, ["url"]),
    "a port that is none": ({"url": "https://billing.example.com:99999/"}, ["url"]),
    "a space": ({"url": "https://billing.example.com/a b"}, ["url"]),
    "a line break": ({"url": "https://billing.example.com/\r\nX: y"}, ["url"]),
    "NUL": ({"url": "https://billing.example.com/\x00"}, ["url"]),
    "half a surrogate pair": ({"url": "https://billing.example.com/\ud800"}, ["url"]),
    "too long": ({"url": "https://billing.example.com/" + "a" * 3_000}, ["url"]),
    "loopback": ({"url": "https://127.0.0.1/"}, ["url"]),
    "loopback by name": ({"url": "https://localhost/"}, ["url"]),
    "loopback in IPv6": ({"url": "https://[::1]/"}, ["url"]),
    "loopback as a number": ({"url": "https://2130706433/"}, ["url"]),
    "loopback in hexadecimal": ({"url": "https://0x7f000001/"}, ["url"]),
    "loopback mapped": ({"url": "https://[::ffff:127.0.0.1]/"}, ["url"]),
    "private": ({"url": "https://10.1.2.3/"}, ["url"]),
    "metadata": ({"url": "https://169.254.169.254/latest/meta-data"}, ["url"]),
    "unknown fields": ({"url": URL, "uri": 1, "secret": "x"}, ["uri", "secret"]),
    "no statuses": ({"url": URL, "statuses": []}, ["statuses"]),
    "statuses of none": ({"url": URL, "statuses": None}, ["statuses"]),
    "one status": ({"url": URL, "statuses": "DELIVERED"}, ["statuses"]),
    "unknown status": ({"url": URL, "statuses": ["SENT"]}, ["statuses"]),
    "a status without events": ({"url": URL, "statuses": ["SENDING"]}, ["statuses"]),
    "not a status": ({"url": URL, "statuses": [1]}, ["statuses.0"]),
    "several": ({"url": 1, "statuses": [], "x": 1}, ["url", "statuses", "x"]),
}


async def test_what_is_at_fault_is_named(world: World) -> None:
    key = await world.key("billing")
    named = {}
    for case, (body, _) in NOT_OURS.items():
        answer = await world.client.post(PATH, headers=key, content=_json(body))
        named[case] = (answer.status_code, sorted(fields(answer)))
    assert named == {case: (422, sorted(names)) for case, (_, names) in NOT_OURS.items()}
    answer = await world.client.post(PATH, headers=key, json={"url": URL, "app": "support"})
    assert answer.status_code == 403
    assert (await world.client.get(PATH, headers=key)).json() == {"webhooks": []}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://billing.example.com:99999/", "has a port above 65535"),
        ("https://billing.example.com:65536", "has a port above 65535"),
        ("https://billing.example.com:0/", "names no port that there is"),
        ("https://billing.example.com:port/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
    ],
)
async def test_what_is_wrong_with_a_url_is_told(world: World, url: str, why: str) -> None:
    answer = await world.client.post(PATH, headers=await world.key("billing"), json={"url": url})
    assert [fault["message"] for fault in answer.json()["errors"]] == [why]


async def test_a_status_that_is_no_text_is_told_in_our_words(world: World) -> None:
    body = {"url": URL, "statuses": ["failed", 1, "SENT"]}
    answer = await world.client.post(PATH, headers=await world.key("billing"), json=body)
    assert fields(answer) == ["statuses.1", "statuses.2"]
    number, word = (fault["message"] for fault in answer.json()["errors"])
    assert number == "must be text"
    assert word.startswith("'SENT' is none of QUEUED, ")


async def test_a_change_at_fault_changes_nothing(world: World) -> None:
    key = await world.key("billing")
    webhook = (await world.client.post(PATH, headers=key, json={"url": URL})).json()
    del webhook["secret"]
    cases: dict[str, tuple[object, list[str]]] = {
        "private": ({"url": "https://192.168.0.1/", "statuses": ["FAILED"]}, ["url"]),
        "paused as text": ({"paused": "yes"}, ["paused"]),
        "app": ({"app": "support"}, ["app"]),
        "null": ({"paused": None}, ["paused"]),
        "secret": ({"secret": "whsec_x"}, ["secret"]),
        "no object": ("x", ["body"]),
    }
    for case, (body, names) in cases.items():
        answer = await world.client.patch(f"{PATH}/{webhook['id']}", headers=key, json=body)
        assert (answer.status_code, fields(answer)) == (422, names), case
    found = await world.client.get(f"{PATH}/{webhook['id']}", headers=key)
    assert found.json() == webhook


async def test_replays_and_lists_at_fault(world: World) -> None:
    key = await world.key("billing")
    webhook = (await world.client.post(PATH, headers=key, json={"url": URL})).json()
    late, early = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
    bodies: dict[str, tuple[object, list[str]]] = {
        "no bounds": ({}, ["body"]),
        "bounds of nothing": ({"after": None, "to": None}, ["after", "to"]),
        "no event": ({"after": "x"}, ["after"]),
        "a number": ({"until": 1}, ["until"]),
        "reversed events": ({"after": event_id(2), "until": event_id(1)}, ["until"]),
        "reversed times": ({"from": late, "to": early}, ["to"]),
        "a time without zone": ({"from": "2026-01-01T00:00:00"}, ["from"]),
        "a plus that is a space": ({"from": "2026-01-01T00:00:00 01:00"}, ["from"]),
        "seconds since 1970": ({"from": 1}, ["from"]),
        "the same as text": ({"from": "1700000000"}, ["from"]),
        "a day": ({"from": "2026-01-01"}, ["from"]),
        "a time that is none": ({"to": "yesterday"}, ["to"]),
        "a time out of reach": ({"to": "9999-12-31T23:59:59-23:59"}, ["to"]),
        "no state": ({"state": "LOST"}, ["state"]),
        "unknown": ({"from_": late}, ["from_"]),
    }
    for case, (body, names) in bodies.items():
        answer = await world.client.post(f"{PATH}/{webhook['id']}/replay", headers=key, json=body)
        assert (answer.status_code, fields(answer)) == (422, names), case
    queries: dict[str, tuple[dict[str, str], list[str]]] = {
        "no state": ({"state": "LOST"}, ["state"]),
        "no cursor": ({"cursor": "x"}, ["cursor"]),
        "too many": ({"limit": "501"}, ["limit"]),
        "unknown": ({"after": "x"}, ["after"]),
    }
    for case, (query, names) in queries.items():
        answer = await world.client.get(
            f"{PATH}/{webhook['id']}/deliveries", headers=key, params=query
        )
        assert (answer.status_code, fields(answer)) == (422, names), case


async def test_deliveries_in_pages(world: World) -> None:
    key = await world.key("billing")
    webhook = (await world.client.post(PATH, headers=key, json={"url": URL})).json()
    made = [
        (await world.client.post(f"{PATH}/{webhook['id']}/test", headers=key)).json()["id"]
        for _ in range(5)
    ]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = (
            await world.client.get(f"{PATH}/{webhook['id']}/deliveries", headers=key, params=query)
        ).json()
        seen += [delivery["id"] for delivery in page["deliveries"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == made[::-1]


async def test_there_are_only_so_many(world: World) -> None:
    key = await world.key("billing")
    codes = [
        (await world.client.post(PATH, headers=key, json={"url": "https://8.8.8.8/"}))
        .status_code
        for _ in range(101)
    ]  # fmt: skip
    assert codes == [201] * 100 + [409]


async def test_plain_http_and_own_networks_where_they_are_allowed(sqlite_url: str) -> None:
    async with serving(
        sqlite_url, webhook_allow_http=True, webhook_allowed_networks="10.0.0.0/8, fd00::/8"
    ) as world:
        key = await world.key("billing")
        codes = {}
        for url in (
            "http://10.1.2.3/",
            "https://[fd00::1]/",
            "http://127.0.0.1/",
            "ftp://10.1.2.3/",
        ):
            answer = await world.client.post(PATH, headers=key, json={"url": url})
            codes[url] = answer.status_code
        assert list(codes.values()) == [201, 201, 422, 422]


def _json(body: object) -> bytes:
    return json.dumps(body).encode()


async def test_webhooks_of_revoked_keys_say_so(world: World) -> None:
    """They go on delivering: who looks at the list sees which outlived their key."""
    keys = KeyStore(world.database)
    app = f"leaving{uuid4().hex}"
    first, second = await world.key(app), await world.key(app)
    one = (await world.client.post(PATH, headers=first, json={"url": URL})).json()
    two = (await world.client.post(PATH, headers=second, json={"url": URL})).json()
    assert one["key_id"] != two["key_id"]
    assert await keys.revoke(one["key_id"])
    listed = (await world.client.get(PATH, headers=second)).json()["webhooks"]
    assert {each["id"]: each["key_revoked"] for each in listed} == {
        one["id"]: True,
        two["id"]: False,
    }
    changed = await world.client.patch(f"{PATH}/{one['id']}", headers=second, json={"paused": True})
    assert changed.json()["key_revoked"] is True


async def test_of_a_webhook_without_a_known_key_all_its_apps_keys_count(world: World) -> None:
    """As it is with those that were made before the key was recorded."""
    app = f"old{uuid4().hex}"
    keys, key, admin = KeyStore(world.database), await world.key(app), await world.key("o", "admin")
    made = (await world.client.post(PATH, headers=key, json={"url": URL})).json()
    async with world.database.write() as connection:
        mine = webhooks.c.id == UUID(made["id"])
        await connection.execute(update(webhooks).where(mine).values(key_id=None))
    one = f"{PATH}/{made['id']}"
    assert (await world.client.get(one, headers=admin)).json()["key_revoked"] is False
    await keys.revoke(made["key_id"])
    found = (await world.client.get(one, headers=admin)).json()
    assert (found["key_id"], found["key_revoked"]) == (None, True)


@pytest.mark.parametrize("scopes", [("read",), ("support",), ("read", "support")])
async def test_reading_does_not_change_webhooks(world: World, scopes: tuple[str, ...]) -> None:
    owner, reader = await world.key("billing"), await world.key("billing", *scopes)
    made = (await world.client.post(PATH, headers=owner, json={"url": URL})).json()
    one = f"{PATH}/{made['id']}"
    assert (await world.client.get(one, headers=reader)).json()["id"] == made["id"]
    for method, path in (("POST", PATH), ("PATCH", one), ("DELETE", one), ("POST", f"{one}/secret"),
                         ("POST", f"{one}/test"), ("POST", f"{one}/replay")):  # fmt: skip
        refused = await world.client.request(method, path, headers=reader, json={"url": URL})
        assert refused.status_code == 403, (method, path)
        assert "scope webhooks" in refused.json()["detail"]


async def test_support_with_webhooks_changes_its_own_apps_alone(world: World) -> None:
    owner, both = await world.key("billing"), await world.key("desk", "support", "webhooks")
    made = (await world.client.post(PATH, headers=owner, json={"url": URL})).json()
    one = f"{PATH}/{made['id']}"
    assert (await world.client.get(one, headers=both)).status_code == 200
    assert (await world.client.delete(one, headers=both)).status_code == 404
    own = (await world.client.post(PATH, headers=both, json={"url": URL})).json()
    assert own["app"] == world.app("desk")
