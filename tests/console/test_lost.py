"""What goes wrong at the console is said in words, and what was typed is still there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import Desk
from tests.console.world import seed
from tests.receive.serving import serve
from tests.support.postgresql import PostgresServer

pytestmark = pytest.mark.slow


def type_a_key(page: Page) -> None:
    page.goto(re.sub("/console.*", "/console/keys", page.url))
    page.get_by_label("App", exact=True).fill("night shift")
    page.get_by_role("checkbox", name=re.compile("^read")).check()


def is_still_typed(page: Page) -> None:
    expect(page.get_by_label("App", exact=True)).to_have_value("night shift")
    expect(page.get_by_role("checkbox", name=re.compile("^read"))).to_be_checked()
    expect(page.get_by_role("cell", name="night shift")).to_have_count(0)  # nothing was made


def test_a_session_that_ends_in_the_middle_of_a_form(desk: Desk) -> None:
    page = desk.page_as("admin")
    type_a_key(page)
    other = page.context.new_page()
    other.goto(desk.url)
    other.get_by_role("button", name="Sign out").click()
    other.wait_for_url(re.compile("/sign-in"))
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    page.get_by_label("API key").fill(desk.seeded.keys["admin"])
    page.get_by_role("button", name="Sign in").click()
    is_still_typed(page)


def test_a_form_of_an_older_session(desk: Desk) -> None:
    page = desk.page_as("admin")
    type_a_key(page)
    other = page.context.new_page()
    other.goto(f"{desk.url}/sign-in")
    other.get_by_label("API key").fill(desk.seeded.keys["admin"])
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url(re.compile("/console$"))
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_text("older than your session")).to_be_visible()
    page.get_by_role("link", name="Back to the page").click()
    is_still_typed(page)


def test_a_live_page_whose_session_ends_asks_to_sign_in(desk: Desk) -> None:
    page = desk.page_as("support")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['buffered']}")
    page.context.clear_cookies()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=8_000)


@pytest.mark.parametrize("wanted", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_signing_in_leads_nowhere_else(desk: Desk, wanted: str) -> None:
    form = {"key": desk.seeded.keys["support"], "next": wanted}
    answer = httpx.post(f"{desk.url}/sign-in", data=form)
    assert answer.headers["location"] == "/console"


def test_a_long_search_can_be_shortened(desk: Desk) -> None:
    page = desk.page_as("support")
    typed = "order " * 333
    answer = page.goto(f"{desk.url}?q={typed.replace(' ', '+')}")
    assert answer is not None
    assert answer.status == 422
    expect(page.get_by_text("at most 300 characters")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value(typed.strip())


def test_switched_off(another_desk: Callable[..., Any]) -> None:
    with another_desk(seeds=False, DLR_CONSOLE="false") as desk:
        for path in ("", "/sign-in", "/overview", "/static/console.css"):
            assert httpx.get(desk.url + path).status_code == 404


@pytest.mark.postgresql
def test_the_database_is_away_and_comes_back(
    browser: Any, own_postgres: PostgresServer, postgres_url: str
) -> None:
    seeded = seed(postgres_url)
    service = serve(postgres_url, DLR_LOG_LEVEL="error")
    with service.process:
        desk = Desk(browser, service, seeded)
        live, page = desk.page_as("support"), desk.page_as("support")
        live.goto(f"{desk.url}/messages/{seeded.ids['buffered']}")
        heading = live.get_by_role("heading", level=1)
        before = heading.inner_text()
        own_postgres.stop("immediate")
        answer = page.goto(f"{desk.url}?q=07700+900124")
        assert answer is not None
        assert answer.status == 503
        expect(page.get_by_role("heading", level=1)).to_have_text("The database is away")
        expect(page.get_by_text("This page tries again by itself")).to_be_visible()
        # Nobody is known to be signed in, but what was asked for is not lost.
        assert "q=07700+900124" in page.url
        expect(live.get_by_text("can’t be brought up to date")).to_be_visible(timeout=20_000)
        assert heading.inner_text() == before
        own_postgres.start()
        expect(page.get_by_role("heading", level=1)).to_contain_text(
            "Not delivered in time", timeout=30_000
        )
        expect(live.get_by_text("can’t be brought up to date")).to_be_hidden(timeout=20_000)
        desk.close()
