"""axe-core finds nothing; nothing scrolls sideways, narrow or at 400 %; pages are light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.console.conftest import Desk
from tests.support.long import LONG

Options = dict[str, Any]

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
RUN = """async () => {
  const options = {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]};
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


WIDE: Options = {"viewport": {"width": 1280, "height": 800}}
NARROW: Options = {"viewport": {"width": 320, "height": 800}}
ZOOMED: Options = {"viewport": {"width": 320, "height": 256}, "device_scale_factor": 4}
"""A window of 1,280 pixels at 400 %: 320 of CSS, with four device pixels each."""
SCREENS = {
    "wide and light": WIDE | {"color_scheme": "light"},
    "400 % and dark": ZOOMED | {"color_scheme": "dark"},
    "wide and dark": WIDE | {"color_scheme": "dark"},
    "narrow and light": NARROW | {"color_scheme": "light"},
}


@pytest.mark.parametrize("screen", list(SCREENS) if LONG else list(SCREENS)[:2])
def test_axe_finds_nothing(desk: Desk, screen: str) -> None:
    """Each size and each scheme once; with DLR_TEST_LONG=1 also the other way round."""
    # In the policy's way, as the page's own scripts would be.
    page = desk.page_as("admin", bypass_csp=True, **SCREENS[screen])
    faults: dict[str, object] = {}
    for path in pages(desk):
        answer = page.goto(desk.url + path)
        if answer is not None and answer.status != STATUSES.get(path, 200):
            faults[f"{path} answers"] = answer.status
        for details in page.locator("details").all():
            details.evaluate("one => { one.open = true }")
        page.evaluate(AXE)
        if found := page.evaluate(RUN):
            faults[path] = found
        sideways = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if sideways > 0:
            faults[f"{path} scrolls sideways"] = sideways
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
