"""What support, operations and admins do at the console, in a real browser."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import expect

from tests.console.conftest import Desk
from tests.console.world import EVIL
from tests.receive.serving import AUTH_HEADER, SECRET, body

pytestmark = pytest.mark.slow

SID = "d454cfe0-a835-11e6-9852-d43d7ed6ce4c"


def search(page, text: str) -> None:  # type: ignore[no-untyped-def]
    box = page.get_by_role("searchbox", name="Search messages")
    box.fill(text)
    box.press("Enter")
    page.wait_for_load_state()


def test_sign_in_and_out(desk: Desk) -> None:
    page = desk.page()
    page.goto(f"{desk.url}?q=status:failed")
    page.get_by_label("API key").fill("dlr_wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("API key").fill(desk.seeded.keys["support"])
    page.get_by_role("button", name="Sign in").click()
    assert page.url.endswith("?q=status:failed")  # what was wanted is not lost
    (cookie,) = page.context.cookies()
    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Lax"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    stolen = httpx.get(f"{desk.url}", cookies={"dlr_console": cookie["value"]})
    assert stolen.status_code == 401
    assert "session has ended" in stolen.text


def test_one_hit_opens_it(desk: Desk) -> None:
    page = desk.page_as("support")
    search(page, "07700 900124")
    it = f"/messages/{desk.seeded.ids['expired']}"
    assert it in page.url
    expect(page.get_by_role("heading", level=1)).to_contain_text("Not delivered in time")
    for written in (
        "+44 7700 900124", "0044 7700 900124", "(07700) 900-124", "447700900124", "0124", "order-3",
        "to:07700 900124 status:expired",
    ):  # fmt: skip
        assert it in page.request.get(desk.url, params={"q": written}).url, written


def test_by_either_id(desk: Desk) -> None:
    page = desk.page_as("support")
    for written in (desk.seeded.ids["delivered"], SID.upper()):
        page.goto(desk.url)
        search(page, written)
        expect(page.get_by_role("heading", level=1)).to_contain_text(
            re.compile(
                r"^Delivered to the handset at \d\d:\d\d:\d\d, 10 seconds after it was sent$"
            )
        )
    steps = page.get_by_role("list", name="Timeline").get_by_role("listitem")
    assert steps.count() == 4
    expect(steps.last).to_contain_text("UTC")
    steps.last.get_by_text("What iovox said").click()
    expect(steps.last.locator("pre")).to_contain_text(f'"sms_activity_id": "{SID}"')
    steps.last.get_by_role("button", name="Copy").click()
    expect(steps.last.get_by_role("button")).to_contain_text(re.compile("Copied|Selected"))


def test_a_list_with_counts_survives_reload_back_and_a_new_tab(desk: Desk) -> None:
    page = desk.page_as("support")
    search(page, "ref:bulk- status:failed")
    expect(page.get_by_role("list", name="By status")).to_contain_text("60delivered")
    address = page.url
    rows = page.locator("tbody tr")
    assert rows.count() == 10
    expect(page.get_by_text("10 messages.")).to_be_visible()
    rows.first.get_by_role("link").click()
    page.go_back()
    assert page.url == address
    page.reload()
    assert page.locator("tbody tr").count() == 10
    other = page.context.new_page()
    other.goto(address)
    assert other.locator("tbody tr").count() == 10
    expect(other.get_by_role("searchbox")).to_have_value("ref:bulk- status:failed")
    page.get_by_role("list", name="By status").get_by_role("link", name="delivered").click()
    assert page.locator("tbody tr").count() == 50
    page.get_by_role("link", name="Older").click()
    assert page.locator("tbody tr").count() == 10


def test_csv_in_the_words_of_the_page(desk: Desk) -> None:
    page = desk.page_as("support")
    search(page, "ref:bulk- status:failed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download CSV").click()
    text = download.value.path().read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 10
    assert rows[0]["Status"] == "Failed"
    assert rows[0]["To"] == "07700 900500"


def test_what_cannot_be_read_and_what_is_not_there(desk: Desk) -> None:
    page = desk.page_as("support")
    search(page, "status:nonsense to:07700 900123")
    expect(page.get_by_role("heading", level=1)).to_have_text("This search can’t be read")
    expect(page.get_by_role("searchbox")).to_have_value("status:nonsense to:07700 900123")
    search(page, "+44 7700 900999")
    expect(page.get_by_text("Nothing was sent to")).to_contain_text("07700 900999")
    answer = page.goto(f"{desk.url}/messages/nothing-like-it")
    assert answer is not None
    assert answer.status == 404


def test_support_changes_nothing_and_reads_a_text_on_request(desk: Desk) -> None:
    page = desk.page_as("support")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['unconfirmed']}")
    for name in ("Send again", "Cancel"):
        assert page.get_by_role("link", name=name).count() == 0
    assert "on its way" not in page.content()
    page.get_by_role("button", name="Show text").click()
    expect(page.get_by_text("Your order is on its way (unconfirmed)")).to_be_visible()
    refused = page.goto(f"{desk.url}/messages/{desk.seeded.ids['unconfirmed']}/again")
    assert refused is not None
    assert refused.status == 403


def test_live_until_final(desk: Desk) -> None:
    page = desk.page_as("support")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['submitted']}")
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_have_text("Sent to iovox; no word from the network yet")
    sid = page.locator(".id").last.inner_text()
    headers = {AUTH_HEADER: SECRET}
    told = httpx.post(f"{desk.service.url}/dlr", headers=headers, content=body(sid, "DELIVERED"))
    assert told.status_code == 200
    expect(heading).to_contain_text("Delivered to the handset", timeout=8_000)
    assert page.locator("[hx-get]").count() == 0


def test_cancel_and_send_again(desk: Desk) -> None:
    page = desk.page_as("billing")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['queued']}")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Cancel the text").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Taken back before it was sent")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['rejected']}")
    page.get_by_role("link", name="Send again").click()
    page.get_by_role("button", name="Send again: a second text goes out").click()
    expect(page.get_by_role("status")).to_contain_text("sent again")
    page.get_by_role("link", name="the first text").click()
    assert desk.seeded.ids["rejected"] in page.url


def test_attention_lists_each_kind_and_replays(desk: Desk) -> None:
    page = desk.page_as("admin")
    page.get_by_role("link", name=re.compile("^Attention")).click()
    for name in ("Unconfirmed", "Overdue", "Contradictory", "Stuck", "Unmatched receipts",
                 "Rejected receipts", "Webhooks", "Alarms"):  # fmt: skip
        expect(page.get_by_role("region", name=name)).to_be_visible()
    expect(page.get_by_role("region", name="Overdue")).to_contain_text("07700 900129")
    page.get_by_role("button", name="Replay rejected receipts").click()
    expect(page.get_by_role("status")).to_contain_text("1 calls were read again; 0")


def test_keys_are_made_shown_once_and_end_sessions(desk: Desk) -> None:
    page = desk.page_as("admin")
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("App", exact=True).fill("newcomer")
    page.get_by_role("button", name="Create key").click()
    expect(page.get_by_role("alert")).to_contain_text("at least one")
    expect(page.get_by_label("App", exact=True)).to_have_value("newcomer")
    page.get_by_role("checkbox", name=re.compile("^read")).check()
    page.get_by_role("button", name="Create key").click()
    desk.seeded.keys["newcomer"] = page.locator("#secret").inner_text()
    theirs = desk.page_as("newcomer")
    expect(theirs.get_by_role("heading", level=1)).to_have_text("No messages yet")
    page.goto(f"{desk.url}/keys")
    page.get_by_role("link", name=re.compile("of newcomer")).click()
    page.get_by_role("button", name="Revoke key").click()
    theirs.goto(desk.url)
    expect(theirs.get_by_text("Your session has ended.")).to_be_visible()


@pytest.mark.parametrize("name", ["billing", "admin"])
def test_script_is_text_on_every_page(desk: Desk, name: str) -> None:
    """In what an app is sent, and in what a browser makes of it for an admin."""
    page = desk.page_as(name)
    evil = f"/messages/{desk.seeded.ids['evil']}"
    paths = ["", evil, f"{evil}/print", f"{evil}/again", "/attention", "/overview", "/webhooks",
             f"?q={quote(EVIL)}", f"?q=ref:{quote(EVIL)}&show=list", f"/{quote(EVIL)}",
             f"/keys?name={quote(EVIL)}", f"/audit?who={quote(EVIL)}", "/audit"]  # fmt: skip
    page.goto(f"{desk.url}/webhooks")
    hooks = [link.get_attribute("href") for link in page.locator("tbody a").all()]
    assert len(hooks) == (4 if name == "admin" else 2)
    page.goto(desk.service.url + str(hooks[0]))
    hooks.append(page.locator("tbody a").first.get_attribute("href"))
    for path in [*(desk.url + path for path in paths), *(desk.service.url + str(h) for h in hooks)]:
        if name == "billing":
            sent = page.request.get(path).text()
            assert "<script>document" not in sent, path
            assert "<img src=x" not in sent, path
            continue
        page.goto(path)
        assert page.title() != "owned"
        assert page.locator("img[onerror]").count() == 0, path
    page.goto(desk.service.url + str(hooks[-1]))
    assert "<script>document" in page.locator("dd", has_text="the receiver said").inner_text()
    answer = page.get_by_role("region", name="Attempts").locator("pre")
    if name == "admin":
        assert "out of order <script>document" in answer.inner_text()
    else:  # what a receiver answers is for admins
        assert answer.count() == 0
    page.goto(desk.url + evil)
    page.get_by_role("button", name="Show text").click()
    expect(page.locator("pre", has_text="<script>").last).to_be_visible()


def test_each_attempt_at_a_webhook_is_shown(desk: Desk) -> None:
    page = desk.page_as("admin")
    shown = ("13:00:00 12:00:00 UTC it answered 500 after 12 ms",
             "13:00:01 12:00:01 UTC it did not answer within 10 s after 10.0 s",
             "13:00:13 12:00:13 UTC it answered 204 after 3 ms")  # fmt: skip
    ids = desk.seeded.ids
    places = (("Attempts", f"/webhooks/{ids['telling']}"),
              ("Who was told", f"/messages/{ids['told']}"))  # fmt: skip
    for name, path in places:
        page.goto(desk.url + path)
        attempts = page.get_by_role("region", name=name).locator("ol").first.locator("li")
        expect(attempts).to_have_count(3)
        for attempt, words in zip(attempts.all(), shown, strict=True):
            expect(attempt).to_contain_text(re.compile(words.replace(" ", r"\s*")))


def test_another_apps_data_is_on_no_page(desk: Desk) -> None:
    page = desk.page_as("billing")
    ids = desk.seeded.ids
    for path in ("", "/attention", "/overview?range=24h", "/webhooks", "?q=0199", "?q=0134",
                 "?q=ref:parcel", "/messages.csv?x=1", f"/messages/{ids['shipping']}"):  # fmt: skip
        text = page.request.get(desk.url + path).text()
        assert "parcel-secret" not in text, path
        for number in ("900199", "900134"):
            assert number not in text.replace(" ", "").replace("q=", ""), path
    for path in ("/keys", "/audit"):
        assert page.request.get(desk.url + path).status in (403, 404)


def test_forms_of_other_pages_are_refused(desk: Desk) -> None:
    page = desk.page_as("admin")
    (cookie,) = page.context.cookies()
    jar = {"dlr_console": cookie["value"]}
    path = f"{desk.url}/messages/{desk.seeded.ids['delivered']}/text"
    csrf = page.locator("input[name=csrf]").first.input_value()
    forged = [
        ({}, {}),
        ({"csrf": "wrong"}, {}),
        ({"csrf": csrf}, {"Origin": "https://evil.example.com"}),
        ({"csrf": csrf}, {"Sec-Fetch-Site": "cross-site"}),
    ]
    for form, headers in forged:
        refused = httpx.post(path, data=form, headers=headers, cookies=jar)
        assert refused.status_code == 403
        assert "Nothing was done" in refused.text
    assert httpx.post(path, data={"csrf": csrf}, cookies=jar).status_code == 200


def test_policies(desk: Desk) -> None:
    for path in ("/sign-in", "/static/console.css", "/nothing"):
        headers = httpx.get(desk.url + path).headers
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"


def test_the_keyboard_alone(desk: Desk) -> None:
    page = desk.page()
    page.goto(f"{desk.url}/sign-in")
    page.keyboard.type(desk.seeded.keys["billing"])  # the field has the focus
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/console$"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.type("order-3")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(desk.seeded.ids["expired"]))


def tab_to(page, words: str) -> None:  # type: ignore[no-untyped-def]
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent.trim()").startswith(words):
            return
    raise AssertionError(f"{words!r} cannot be reached")


def test_deeds_by_the_keyboard_alone(desk: Desk) -> None:
    page = desk.page_as("billing")
    page.goto(f"{desk.url}/messages/{desk.seeded.ids['failed']}")
    tab_to(page, "What iovox said")
    page.keyboard.press("Enter")
    expect(page.locator("pre").first).to_contain_text("FAILED")
    tab_to(page, "Show text")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your order is on its way (failed)")).to_be_visible()
    tab_to(page, "Send again")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/again$"))
    tab_to(page, "Send again: a second text goes out")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("sent again")


def test_reading_without_javascript(desk: Desk) -> None:
    page = desk.page_as("support", java_script_enabled=False)
    search(page, "0124")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Not delivered in time")
    page.get_by_role("link", name=re.compile("^Overview")).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("delivered in 7 days")
    assert page.get_by_role("button", name="Copy").count() == 0
