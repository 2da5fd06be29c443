"""axe-core finds nothing; nothing scrolls sideways, narrow or at 400 %; pages are light."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import ViewportSize

from tests.console.conftest import Desk
from tests.support.long import LONG

pytestmark = pytest.mark.slow

Screen = tuple[ViewportSize, Literal["light", "dark"]]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RUN = """async () => {
  document.getAnimations().forEach(one => one.finish());  // colours of the scheme before
  const runOnly = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"];
  const options = {runOnly, resultTypes: ["violations"]};
  const found = await axe.run(document, options);
  return found.violations.map(v => v.id + ": " + v.nodes.map(n => n.html).join(" | "));
}"""
STATUSES = {"?q=status:nonsense": 422, "/nowhere": 404}
"""What pages answer, if not 200."""
MOST = 100_000
"""Bytes of a page with its style and scripts."""


def pages(desk: Desk) -> list[str]:
    ids = desk.seeded.ids
    return [
        "", "?q=ref:bulk-", "?q=07700900999", "?q=status:nonsense",
        f"/messages/{ids['delivered']}", f"/messages/{ids['unconfirmed']}",
        f"/messages/{ids['overdue']}", f"/messages/{ids['contradictory']}",
        f"/messages/{ids['evil']}", f"/messages/{ids['delivered']}/print",
        f"/messages/{ids['failed']}/again", "/attention", "/overview", "/webhooks", "/keys",
        "/audit", "/nowhere", f"/messages/{ids['told']}", f"/webhooks/{ids['telling']}",
    ]  # fmt: skip


WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 320, "height": 800}
ZOOMED: ViewportSize = {"width": 320, "height": 256}
"""A window of 1,280 pixels at 400 %: 320 of CSS."""
SCREENS: Sequence[Screen] = [(WIDE, "light"), (ZOOMED, "dark")]
if LONG:
    SCREENS = [*SCREENS, (WIDE, "dark"), (NARROW, "light")]


def test_axe_finds_nothing(desk: Desk) -> None:
    """On each page in each size and each scheme; with DLR_TEST_LONG=1 also the other way round."""
    # In the policy's way, as the page's own scripts would be.
    page = desk.page_as("admin", bypass_csp=True)
    faults: dict[str, object] = {}
    for path in pages(desk):
        answer = page.goto(desk.url + path)
        if answer is not None and answer.status != STATUSES.get(path, 200):
            faults[f"{path} answers"] = answer.status
        for details in page.locator("details").all():
            details.evaluate("one => { one.open = true }")
        page.evaluate(AXE)
        for size, scheme in SCREENS:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            where = f"{path} {size['width']} x {size['height']}, {scheme}"
            if found := page.evaluate(RUN):
                faults[where] = found
            sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if sideways > 0:
                faults[f"{where} scrolls sideways"] = sideways
    assert faults == {}


def test_sign_in_is_accessible(desk: Desk) -> None:
    page = desk.page(bypass_csp=True)
    page.goto(f"{desk.url}/sign-in")
    page.evaluate(AXE)
    assert page.evaluate(RUN) == []


def test_pages_are_light(desk: Desk) -> None:
    page = desk.page_as("admin")
    static = sum(
        len(httpx.get(page.evaluate("one => new URL(one, location).href", address)).content)
        for address in page.evaluate(
            "[...document.querySelectorAll('link[href],script[src]')]"
            ".map(one => one.getAttribute('href') ?? one.getAttribute('src'))"
        )
    )
    for path in pages(desk):
        assert len(page.request.get(desk.url + path).body()) + static < MOST, path
