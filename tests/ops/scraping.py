"""Reads what /metrics answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.send.world import SECRET, until

Samples = dict[str, float]


def read(text: str) -> Samples:
    """The samples by name and labels: `dlr_sends_total{outcome=submitted}`.

    Prometheus's own parser takes fifty times as long: ``names`` uses it, so that what is read here
    is known to be well-formed.
    """
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name.replace('"', ""): float(value) for name, _, value in lines}


def names(text: str) -> set[str]:
    """The names of the families, as Prometheus writes them."""
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(text)
    }


async def scrape(client: httpx.AsyncClient) -> Samples:
    response = await client.get("/metrics")
    assert response.status_code == 200, response.text
    return read(response.text)


class Meter:
    """What has moved since the last look."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.moved: set[str] = set()
        self.last: Samples = {}

    async def start(self) -> Meter:
        self.last = await scrape(self._client)
        return self

    async def moves(self, *wanted: str, to: float | None = None) -> None:
        """Wait until each of these has risen, or is as said."""
        before = self.last

        async def all_moved() -> bool:
            self.last = await scrape(self._client)
            return all(
                self.last[name] == to if to is not None else self.last[name] > before[name]
                for name in wanted
            )

        await until(all_moved, f"{wanted} to move from {[before.get(one) for one in wanted]}")
        self.moved |= {name.partition("{")[0] for name in wanted}


def receipt(sms_activity_id: str, status: str = "DELIVERED", stamp: str | None = None) -> str:
    """A receipt; its time is now, in London's winter, unless said."""
    return json.dumps(
        {
            "sms_activity_id": sms_activity_id,
            "status": status,
            "receipt_timestamp": stamp or f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z",
        }
    )


async def post_receipt(client: httpx.AsyncClient, body: str, secret: str = SECRET) -> int:
    headers = {"X-Secret": secret}
    return (await client.post("/dlr", content=body, headers=headers)).status_code
