"""The OpenAPI document: complete, consistent with responses, and readable offline."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from functools import cache
from importlib import import_module
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from app.model.alarm import Alarm, AlarmName, alarm_payload
from app.model.api_key import Scope
from app.model.event import Event, event_id
from app.model.status import Status
from app.model.webhook import erased_payload, event_payload, trial_payload
from app.web.docs import PACKAGE, find_assets
from app.webhooks.signing import signed_headers
from tests.lookup.world import NOW, World, living

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "trace"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(
    sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    del sqlite_template
    folder = tmp_path_factory.mktemp("openapi")
    async with living(f"sqlite:///{folder / 'dlr.db'}") as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def document(world: World) -> Json:
    response = await world.nobody.get("/openapi.json")
    found: Json = response.json()
    return found


async def test_the_document_names_every_route(world: World, document: Json) -> None:
    assert {"/dlr", "/v1/messages", "/v1/messages/{id}", "/v1/stats"} <= set(document["paths"])
    assert document["openapi"].startswith("3.1")
    assert {"/docs", "/openapi.json"}.isdisjoint(document["paths"])
    for path, method, _ in _operations(document):
        concrete = re.sub(r"\{[^}]*\}", str(uuid4()), path)
        response = await world.nobody.request(method, concrete)
        assert response.status_code != 405, f"{method} {path} is documented, and not offered"


async def test_every_operation_tells_what_it_is(document: Json) -> None:
    names = []
    for path, method, operation in _operations(document):
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        assert operation["tags"], where
        names.append(operation["operationId"])
    assert len(set(names)) == len(names)


async def test_every_operation_under_v1_names_the_scope_it_needs(document: Json) -> None:
    for path, method, operation in _operations(document):
        if path.startswith("/v1/"):
            assert operation["security"], f"{method} {path}"
            for alternative in operation["security"]:
                (scope,) = alternative["apiKey"]
                assert scope in set(Scope), f"{method} {path}"
            assert {"401", "403", "500", "503"} <= set(operation["responses"]), f"{method} {path}"


async def test_bodies_and_answers_under_v1_are_models(document: Json) -> None:
    models = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    for path, method, operation in _operations(document):
        if not path.startswith("/v1/"):
            continue
        answers = [one for status, one in operation["responses"].items() if status < "300"]
        for place in [operation.get("requestBody", {}), *answers]:
            content = place.get("content", {})
            if "application/json" in content:
                schema = content["application/json"]["schema"]
                first = schema.get("anyOf", [schema])[0]  # a body may be left out
                assert first["$ref"] in models, f"{method} {path}"


async def test_every_error_is_a_problem_with_an_example(document: Json) -> None:
    for path, method, operation in _operations(document):
        for status, answer in operation["responses"].items():
            if not status.startswith(("4", "5")) or path == "/readyz":
                continue
            where = f"{method} {path} {status}"
            problem = answer["content"]["application/problem+json"]
            assert problem["schema"] == {"$ref": "#/components/schemas/Problem"}, where
            for code, example in problem["examples"].items():
                assert example["value"]["type"] == f"urn:iovox-receipts:problem:{code}", where
                assert example["value"]["status"] == int(status), where
                _require(document, problem["schema"], example["value"])


async def test_every_reference_leads_somewhere(document: Json) -> None:
    for reference in _references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step.replace("~1", "/")]


async def test_no_schema_is_left_over(document: Json) -> None:
    named = {reference.rsplit("/", 1)[1] for reference in _references(document)}
    assert set(document["components"]["schemas"]) == named


async def test_every_example_fits_its_schema(document: Json) -> None:
    for _, _, operation in _operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media in (media for body in bodies for media in body.get("content", {}).values()):
            if "example" in media:
                _require(document, media["schema"], media["example"])
        for parameter in operation.get("parameters", []):
            if "example" in parameter:
                _require(document, parameter["schema"], parameter["example"])
    for name, schema in document["components"]["schemas"].items():
        for example in [*schema.get("examples", []), *filter(None, [schema.get("example")])]:
            _require(document, {"$ref": f"#/components/schemas/{name}"}, example)


@pytest.mark.parametrize("status", sorted(Status))
async def test_messages_are_as_documented(world: World, document: Json, status: Status) -> None:
    if status is Status.UNKNOWN:
        await world.receipts("strange", ("SOMETHING", NOW))
        name: object = "strange"
    else:
        name = (await world.message(status, receipts=[(Status.BUFFERED, NOW)])).id
    for path, answer in {
        "/v1/messages/{id}": await world.admin.get(f"/v1/messages/{name}"),
        "/v1/messages": await world.admin.get("/v1/messages?limit=1"),
        "/v1/stats": await world.admin.get("/v1/stats"),
    }.items():
        documented = document["paths"][path]["get"]["responses"]["200"]
        assert answer.status_code == 200
        _require(document, documented["content"]["application/json"]["schema"], answer.json())
        assert set(documented.get("headers", {})) - {"Link", "Content-Disposition"} <= {
            header.title().replace("Etag", "ETag") for header in answer.headers
        }
    ids = {"ids": [str(name), "nothing"]}
    found = await world.admin.post("/v1/messages/lookup", json=ids)
    documented = document["paths"]["/v1/messages/lookup"]["post"]["responses"]["200"]
    _require(document, documented["content"]["application/json"]["schema"], found.json())


async def test_an_event_of_the_stream_is_as_documented(document: Json) -> None:
    operation = document["paths"]["/v1/events/stream"]["get"]
    schema = operation["responses"]["200"]["content"]["text/event-stream"]["schema"]
    _require(document, schema, {"id": event_id(1)})
    _require(document, schema, {"id": event_id(1), "event": "message", "data": "{}"})


async def test_health_is_as_documented(world: World, document: Json) -> None:
    for path in ("/healthz", "/readyz"):
        answers = document["paths"][path]["get"]["responses"]
        answer = await world.nobody.get(path)
        documented = answers[str(answer.status_code)]["content"]["application/json"]
        _require(document, documented["schema"], answer.json())
    assert set(document["paths"]["/readyz"]["get"]["responses"]) == {"200", "503"}
    metrics = await world.nobody.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert set(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == {
        "text/plain"
    }


async def test_headers_are_documented(document: Json) -> None:
    def of(path: str, method: str, status: int) -> set[str]:
        return set(document["paths"][path][method]["responses"][str(status)]["headers"])

    for path in ("/v1/messages", "/v1/messages/{id}/resend"):
        assert "Retry-After" in of(path, "post", 409)
    assert of("/v1/messages", "get", 200) == {"Link", "Content-Disposition", "Vary"}
    asked = document["paths"]["/v1/messages/{id}"]["get"]["parameters"]
    assert {one["name"]: one["in"] for one in asked}["If-None-Match"] == "header"


async def test_the_page_loads_nothing_from_elsewhere(world: World) -> None:
    assert find_assets() is not None, f"{PACKAGE} is not installed"
    page = await world.nobody.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    assert not re.findall(r"https?:|//\w", page.text.replace("// ", ""))
    wanted = re.findall(r'(?:src|href)="([^"]*)"', page.text)
    assert len(wanted) >= 3
    for path in [*wanted, "/openapi.json"]:
        response = await world.nobody.get(path)
        assert response.status_code == 200, path
        assert response.content, path


async def test_pages_that_load_from_elsewhere_are_not_offered(world: World) -> None:
    assert (await world.nobody.get("/redoc")).status_code == 404


@cache
def jsonschema() -> Any:
    """Imported by who needs it: its grammars of formats take a second, in every test process."""
    return import_module("jsonschema")


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield path, method, operation


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for one in node:
            yield from _references(one)


def _require(document: Json, schema: Json, value: Any) -> None:
    whole = {**schema, "components": document["components"]}  # where its references lead
    validator = jsonschema().Draft202012Validator
    validator(whole, format_checker=validator.FORMAT_CHECKER).validate(value)


async def test_the_messages_of_a_batch_are_typed(document: Json) -> None:
    """Generated clients can use it, although one that is at fault is refused by itself."""
    operation = document["paths"]["/v1/messages/batch"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    message = {"origin": "447923221231", "destination": "447723443321", "message": "Hello"}
    _require(document, schema, {"messages": [message]})
    with pytest.raises(jsonschema().ValidationError):
        _require(document, schema, {"messages": [{**message, "expirey": 3}]})
    with pytest.raises(jsonschema().ValidationError):
        _require(document, schema, {"messages": []})


async def test_what_webhooks_are_sent_is_a_schema(document: Json) -> None:
    event = Event(
        number=7,
        message_id=uuid4(),
        app="billing",
        sms_activity_id=None,
        reference="order-42",
        status="DELIVERED",
        at=NOW,
        recorded_at=NOW,
    )
    sent = {
        "message": event_payload(event),
        "alarm": alarm_payload(Alarm(AlarmName.SILENCE, "nothing came", NOW)),
        "test": trial_payload(uuid4(), NOW),
        "erased": erased_payload(uuid4(), None, NOW),
    }
    assert set(document["webhooks"]) == set(sent)
    signed = set(signed_headers(delivery_id="", timestamp=0, body=b"", secrets=[]))
    for name, payload in sent.items():
        operation = document["webhooks"][name]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        _require(document, schema, json.loads(payload.body))
        assert {one["name"] for one in operation["parameters"]} == signed
