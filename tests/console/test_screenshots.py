"""Makes the pictures of docs/console.md, and those of every other page (`make screenshots`)."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.cli.demo.past import ASKED_ABOUT, write_past
from app.cli.demo.receivers import FAILING, TAKING, receivers
from app.record.evidence.keys import write_key
from app.record.evidence.note import SigningKey
from app.store.engine import Database
from tests.console.conftest import Desk
from tests.console.world import in_own_loop

FOLDER = os.environ.get("CONSOLE_SCREENSHOTS")
SIZES = {"wide": (1280, 800), "narrow": (320, 640)}
SCHEMES = ("light", "dark")
QUALITY = 38
LIST = "tbody td a"
"""The first link of a list's first row."""

# By their names: the address, and what is clicked there.
PAGES: dict[str, tuple[str, str | None]] = {
    "messages": ("", None),
    "search": ("?q=status:failed+after:7d&show=list", None),
    "nothing": ("?q=07700+900999", None),
    "unreadable": ("?q=status:lost+to:12", None),
    "message": (f"?q={ASKED_ABOUT}", None),
    "unconfirmed": ("?q=status:unconfirmed&show=list", LIST),
    "contradictory": ("?q=status:contradictory&show=list", LIST),
    "scheduled": ("?q=appointment-7", None),
    "again": ("/attention", "section:has(#unconfirmed) tbody .btn"),
    "attention": ("/attention", None),
    "overview": ("/overview?range=14d", None),
    "webhooks": ("/webhooks", None),
    "webhook": ("/webhooks", LIST),
    "keys": ("/keys", None),
    "audit": ("/audit", None),
    "error": ("/nowhere", None),
}


@pytest.mark.skipif(not FOLDER, reason="`make screenshots` sets CONSOLE_SCREENSHOTS")
def test_screenshots(another_desk: Callable[..., Any], tmp_path: Path) -> None:
    folder = Path(FOLDER or "")
    folder.mkdir(parents=True, exist_ok=True)
    with _desk(another_desk, tmp_path) as desk:
        addresses = _addresses(desk)
        for size, (width, height) in SIZES.items():
            for scheme in SCHEMES:
                options = {
                    "viewport": {"width": width, "height": height},
                    "color_scheme": scheme,
                }
                stranger = desk.page(**options)
                stranger.goto(f"{desk.url}/sign-in")
                _take(stranger, folder / f"sign-in-{size}-{scheme}.webp")
                page = desk.page_as("admin", **options)
                for name, address in addresses.items():
                    page.goto(address)
                    _take(page, folder / f"{name}-{size}-{scheme}.webp")


@contextmanager
def _desk(another_desk: Callable[..., Any], folder: Path) -> Iterator[Desk]:
    """A service with two weeks of texts, an evidence log and two webhooks."""
    key = folder / "log.key"
    write_key(key, SigningKey.generate("sms.example.com/log"))
    settings = {
        "DLR_EVIDENCE_KEY_FILE": str(key),
        "DLR_WEBHOOK_ALLOW_HTTP": "true",
        "DLR_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
        "DLR_KEEP_FOR": "400",
    }
    with receivers() as url, another_desk(seeds=False, **settings) as desk:
        admin = {"Authorization": f"Bearer {desk.seeded.keys['admin']}"}
        with httpx.Client(base_url=desk.service.url, headers=admin) as api:
            for path in (TAKING, FAILING):
                api.post("/v1/webhooks", json={"url": url + path}).raise_for_status()
            in_own_loop(lambda: _fill(desk))
            yield desk


def _addresses(desk: Desk) -> dict[str, str]:
    """Of the pages, once what has to happen before has happened."""
    page = desk.page_as("admin")
    found = {}
    for name, (path, click) in PAGES.items():
        page.goto(desk.url + path)
        if click is not None:
            page.locator(click).first.click()
            page.wait_for_load_state()
        found[name] = page.url
    found["print"] = re.sub(r"(\?.*)?$", "/print", found["message"], count=1)
    page.goto(found["webhook"])
    page.locator(LIST).first.click()
    page.wait_for_load_state()
    found["delivery"] = page.url
    page.goto(found["print"])
    for _ in range(60):  # the evidence log lags behind by seconds
        if page.get_by_text("Fingerprint").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    expect(page.get_by_text("Fingerprint")).to_be_visible()
    return found


def _take(page: Page, file: Path) -> None:
    """As WebP, which is a third of a PNG."""
    session = page.context.new_cdp_session(page)
    taken = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY})
    file.write_bytes(base64.b64decode(taken["data"]))
    session.detach()


async def _fill(desk: Desk) -> None:
    database = Database(desk.service.database_url)
    await write_past(database, datetime.now(UTC))
    await database.close()
