"""The evidence that somebody takes away from the console, and the fingerprint on paper."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from app.record.evidence.keys import write_key
from app.record.evidence.note import SigningKey
from tests.cli.here import dlr

pytestmark = pytest.mark.slow


def test_it_verifies_and_its_fingerprint_is_the_printed_one(
    another_desk: Callable[..., Any], tmp_path: Path
) -> None:
    key = SigningKey.generate("sms.example/log")
    file, public = tmp_path / "log.key", tmp_path / "log.pub"
    write_key(file, key)
    public.write_text(f"{key.verifier}\n")
    with another_desk(DLR_EVIDENCE_KEY_FILE=str(file)) as desk:
        page = desk.page_as("admin")
        page.goto(f"{desk.url}/messages/{desk.seeded.ids['unconfirmed']}")
        page.get_by_role("link", name="Send again").click()
        page.get_by_role("button", name=re.compile("Send again")).click()  # after the log began
        expect(page.get_by_role("status").first).to_contain_text("sent again")
        address = page.url.partition("?")[0]
        fingerprint = page.locator("#evidence + p .id")
        for _ in range(40):  # the log lags behind by seconds, and each attempt to send is a fact
            page.goto(f"{address}/print")
            printed = fingerprint.inner_text() if fingerprint.count() else ""
            page.get_by_role("link", name="Back").click()
            with page.expect_download() as download:
                page.get_by_role("link", name="Download evidence").click()
            saved = download.value.path()
            if json.loads(saved.read_bytes()).get("digest") == printed:
                break
            page.wait_for_timeout(250)
        assert json.loads(saved.read_bytes())["digest"] == printed
        verified = dlr(["evidence", "verify", str(saved), "--key", str(public)], {})
        assert verified.returncode == 0, verified.stdout
        page.goto(f"{desk.url}/audit?action=message.reveal")
        expect(page.locator("tbody")).to_contain_text(address.rpartition("/")[2])
