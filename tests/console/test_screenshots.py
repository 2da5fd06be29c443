"""Makes the pictures of docs/console.md (`make screenshots`)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.cli.demo.past import ASKED_ABOUT, write_past
from app.store.engine import Database
from tests.console.conftest import Desk
from tests.console.world import in_own_loop

FOLDER = os.environ.get("CONSOLE_SCREENSHOTS")
PAGES = {
    "message": f"?q={ASKED_ABOUT}",
    "messages": "?q=status:failed+after:7d&show=list",
    "attention": "/attention",
    "overview": "/overview?range=14d",
}


@pytest.mark.skipif(not FOLDER, reason="`make screenshots` sets CONSOLE_SCREENSHOTS")
def test_screenshots(another_desk) -> None:  # type: ignore[no-untyped-def]
    folder = Path(FOLDER or "")
    folder.mkdir(parents=True, exist_ok=True)
    with another_desk(seeds=False) as desk:
        in_own_loop(lambda: _fill(desk))
        for name, path in PAGES.items():
            page = desk.page_as("admin", viewport={"width": 1280, "height": 800})
            page.goto(desk.url + path)
            page.screenshot(path=folder / f"{name}.png")


async def _fill(desk: Desk) -> None:
    database = Database(desk.service.database_url)
    await write_past(database, datetime.now(UTC))
    await database.close()
