"""A service that gives the answers it was told to give, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from iovox_receipts import Client
from tests.client.both import Make

Answer = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]
Play = Callable[[Sequence[Answer]], "Script"]
URL = "https://sms.example.com"
KEY = "dlr_key"


@dataclass
class Script(httpx.AsyncBaseTransport):
    """Gives the answers in turn, the last one for ever."""

    answers: Sequence[Answer]
    make: Make
    requests: list[httpx.Request] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        answer = self.answers[min(len(self.requests), len(self.answers) - 1)]
        self.requests.append(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            # One object may be given several times, and a body is read once.
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=answer.content
            )
        return answer(request)

    def client(self, **options: Any) -> Client:
        return self.make(URL, KEY, transport=self, sleep=self.sleep, **options)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def problem(status: int, code: str = "x", detail: str = "No.", **members: Any) -> httpx.Response:
    headers = members.pop("headers", {})
    body = {"type": f"urn:iovox-receipts:problem:{code}", "title": "T", "status": status}
    return httpx.Response(status, headers=headers, json=body | {"detail": detail} | members)


def sent(status: str = "SUBMITTED", **members: Any) -> httpx.Response:
    body = {"id": "0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f", "sms_activity_id": "a-1", "errors": []}
    return httpx.Response(201, json=body | {"status": status} | members)


def message(status: str = "SUBMITTED", *, final: bool = False, **members: Any) -> httpx.Response:
    body = {
        "id": "0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f",
        "sms_activity_id": "a-1",
        "app": "billing",
        "reference": "order-42",
        "origin": "447923221231",
        "destination": "447723443321",
        "message": "Hello",
        "status": status,
        "status_at": "2020-05-06T17:37:46Z",
        "final": final,
        "contradictory": False,
        "overdue": False,
        "created_at": "2020-05-06T17:37:36.123456Z",
        "history": [],
    }
    return httpx.Response(200, json=body | members)


def event(number: int, status: str = "SUBMITTED") -> dict[str, Any]:
    return {
        "id": f"e{number}",
        "message_id": "0193e0c4-7a1b-7cc3-98c4-dc0c0c07398f",
        "sms_activity_id": "a-1",
        "reference": None,
        "status": status,
        "at": "2020-05-06T17:37:46Z",
        "recorded_at": "2020-05-06T17:37:47Z",
    }
