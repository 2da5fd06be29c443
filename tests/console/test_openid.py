"""Signing in at a provider: a real one, in another process, that anybody may be anybody at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from app.console.openid import read_roles
from app.errors import ConfigurationError
from tests.support.ports import free_port

pytestmark = pytest.mark.slow

COMMAND = Path(sys.executable).parent / "oidc-provider-mock"
PEOPLE = (
    {"sub": "alice", "email": "alice@example.com", "roles": ["help-desk"]},
    {"sub": "bob", "email": "bob@example.com", "groups": "gardeners"},
)


@contextmanager
def provider() -> Iterator[str]:
    port = free_port()
    people = [word for person in PEOPLE for word in ("--user-claims", json.dumps(person))]
    process = subprocess.Popen(
        [COMMAND, "--port", str(port), "--require-nonce", "true", *people],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx.get(f"{url}/.well-known/openid-configuration")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def settings(issuer: str, console: int) -> dict[str, str]:
    return {
        "DLR_OIDC_ISSUER": issuer,
        "DLR_OIDC_CLIENT_ID": "console",
        "DLR_OIDC_CLIENT_SECRET": "a-secret-of-the-provider",
        "DLR_OIDC_ROLES": "help-desk=support, ops=admin",
        "DLR_OIDC_NAME": "Example",
        "DLR_CONSOLE_URL": f"http://127.0.0.1:{console}",
    }


def be(page: Page, subject: str) -> None:
    """At the provider's own page."""
    page.locator("input[name=sub]").fill(subject)
    page.locator("button[type=submit], button").first.click()


def test_in_and_out(another_desk: Callable[..., Any]) -> None:
    port = free_port()
    with (
        provider() as issuer,
        another_desk(port=port, seeds=False, **settings(issuer, port)) as desk,
    ):
        page = desk.page()
        # The provider's page has a style from elsewhere, and waits for it: a click on that page
        # ended in a time-out whenever the network was slow to say that there is no such place.
        page.route(lambda url: "//127.0.0.1:" not in url, lambda route: route.abort())
        page.goto(f"{desk.url}?q=status:failed")
        page.get_by_role("link", name="Sign in with Example").click()
        asked = httpx.URL(page.url).params
        assert asked["code_challenge_method"] == "S256"
        assert asked["nonce"]
        be(page, "alice")
        page.wait_for_url(re.compile("status:failed"))
        expect(page.get_by_text("alice@example.com")).to_be_visible()
        assert page.get_by_role("link", name="Keys").count() == 0  # support, and no more
        names = {cookie["name"] for cookie in page.context.cookies(desk.url)}
        assert names == {"dlr_console"}
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_load_state()
        again = page.goto(desk.url)
        assert again is not None
        assert "/sign-in" in page.url
        page.get_by_role("link", name="Sign in with Example").click()
        be(page, "bob")
        expect(page.get_by_role("alert")).to_contain_text("may not use this console")
        stale = page.goto(f"{desk.url}/sign-in/back?code=x&state=y")
        assert stale is not None
        assert stale.status == 401
        ours = [one for one in desk.problems if "asked elsewhere" not in one]
        assert ours == []  # the provider's own page asks for a style


def test_a_provider_that_is_away(another_desk: Callable[..., Any]) -> None:
    port = free_port()
    away = f"http://127.0.0.1:{free_port()}"
    with another_desk(port=port, seeds=False, **settings(away, port)) as desk:
        answer = httpx.get(f"{desk.url}/sign-in/provider")
        assert answer.status_code == 503
        assert "Sign in with an API key" in answer.text


def test_roles_are_read() -> None:
    assert read_roles("a=support, b=admin, c d=support admin") == {
        "a": {"support"},
        "b": {"admin"},
        "c d": {"support", "admin"},
    }
    for wrong in ("a", "a=", "=admin", "a=send", "a=root"):
        with pytest.raises(ConfigurationError, match="DLR_OIDC_ROLES"):
            read_roles(wrong)
