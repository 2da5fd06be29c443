"""Who was told of what: a receiver that fails is seen, mended and told again."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from app.cli.demo.receivers import FAILING, TAKING, receivers
from tests.receive.serving import AUTH_HEADER, SECRET, body

pytestmark = pytest.mark.slow


def test_a_failed_delivery_is_replayed(another_desk: Callable[..., Any]) -> None:
    settings = {
        "DLR_WEBHOOK_ALLOW_HTTP": "true",
        "DLR_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "DLR_WEBHOOK_GIVE_UP_AFTER": "1",
    }
    with receivers() as url, another_desk(**settings) as desk:
        admin = {"Authorization": f"Bearer {desk.seeded.keys['admin']}"}
        api = httpx.Client(base_url=desk.service.url, headers=admin)
        hook = api.post("/v1/webhooks", json={"url": url + FAILING}).raise_for_status().json()
        page = desk.page_as("admin")
        page.goto(f"{desk.url}/messages/{desk.seeded.ids['submitted']}")
        sid = page.locator(".id").last.inner_text()
        headers, content = {AUTH_HEADER: SECRET}, body(sid, "DELIVERED")
        told = httpx.post(f"{desk.service.url}/dlr", headers=headers, content=content)
        assert told.status_code == 200
        who = page.get_by_role("region", name="Who was told")
        for _ in range(60):
            page.reload()
            if who.get_by_text("answered 500").count():
                break
            page.wait_for_timeout(250)
        who.get_by_role("link").click()
        expect(page.get_by_role("region", name="Response")).to_contain_text("500")
        expect(page.get_by_role("region", name="Request")).to_contain_text(sid)
        # A machine that was slow has tried once more by now, and paused it.
        mended = {"url": url + TAKING, "paused": False}
        api.patch(f"/v1/webhooks/{hook['id']}", json=mended).raise_for_status()
        page.get_by_role("button", name="Replay").click()
        expect(page.get_by_role("status")).to_contain_text("sent again")
        heading = page.get_by_role("heading", level=1)
        for _ in range(60):
            page.reload()
            if heading.inner_text().startswith("Taken by the receiver at"):
                break
            page.wait_for_timeout(250)
        expect(heading).to_have_text(re.compile("^Taken by the receiver at"))
        attempts = page.get_by_role("region", name="Attempts")
        expect(attempts).to_contain_text("it answered 500")
        expect(attempts.locator("li").last).to_contain_text("it answered 204")
        api.close()
