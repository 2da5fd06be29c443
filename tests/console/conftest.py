from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.console.world import Seeded, seed
from tests.receive.serving import Service, serve

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    # One process shows the pages of all sites: a new one for each takes half the CPU of a test.
    "--disable-site-isolation-trials",
    "--disable-features=site-per-process,Translate,OptimizationHints,MediaRouter",
]


class Desk:
    """A browser at a service: ``page_as`` is a tab in which somebody is signed in."""

    def __init__(self, browser: Browser, service: Service, seeded: Seeded) -> None:
        self._browser = browser
        self.service = service
        self.seeded = seeded
        self.problems: list[str] = []
        self._contexts: list[BrowserContext] = []

    @property
    def url(self) -> str:
        return f"{self.service.url}/console"

    def page(self, **options: Any) -> Page:
        """A tab of somebody who is not signed in; what goes wrong in it is in ``problems``."""
        context = self._browser.new_context(locale="en-GB", **options)
        context.set_default_timeout(10_000)
        self._contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._note)
        page.on("request", self._note_request)
        return page

    def page_as(self, name: str, **options: Any) -> Page:
        """A tab of somebody who has signed in, though not by the form: that takes a page more."""
        page = self.page(**options)
        signed_in = httpx.post(f"{self.url}/sign-in", data={"key": self.seeded.keys[name]})
        page.context.add_cookies(
            [
                {"name": one.name, "value": str(one.value), "domain": one.domain, "path": one.path}
                for one in signed_in.cookies.jar
            ]
        )
        page.goto(self.url)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def _note(self, message: Any) -> None:
        expected = "Failed to load resource", "[DOM]"  # of pages that have a status code
        if message.type in ("error", "warning") and not message.text.startswith(expected):
            self.problems.append(f"{message.type}: {message.text}")

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith((self.service.url, "data:", "http://127.0.0.1")):
            self.problems.append(f"asked elsewhere: {request.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with the module: while it is open the thread has a running loop, and asynchronous
    tests could not have theirs.
    """
    if not Path(CHROMIUM).exists():
        pytest.skip(f"there is no Chromium at {CHROMIUM}")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield made
        made.close()


@pytest.fixture(scope="package")
def served(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Service, Seeded]]:
    folder = tmp_path_factory.mktemp("console")
    shutil.copytree(sqlite_template, folder, dirs_exist_ok=True)
    url = f"sqlite:///{folder / 'dlr.db'}"
    seeded = seed(url)
    service = serve(url, DLR_LOG_LEVEL="warning")
    with service.process:
        yield service, seeded


@pytest.fixture
def desk(browser: Browser, served: tuple[Service, Seeded]) -> Iterator[Desk]:
    made = Desk(browser, *served)
    yield made
    made.close()
    assert made.problems == []


Serving = Callable[..., Any]


@pytest.fixture
def another_desk(browser: Browser, sqlite_template: Path, tmp_path: Path) -> Callable[..., Any]:
    """A service of the test's own, with settings of its own."""

    @contextmanager
    def make(*, port: int | None = None, seeds: bool = True, **settings: str) -> Iterator[Desk]:
        shutil.copytree(sqlite_template, tmp_path, dirs_exist_ok=True)
        url = f"sqlite:///{tmp_path / 'dlr.db'}"
        seeded = seed(url, messages=seeds)
        service = serve(url, port=port, DLR_LOG_LEVEL="warning", **settings)
        with service.process:
            desk = Desk(browser, service, seeded)
            yield desk
            desk.close()

    return make
