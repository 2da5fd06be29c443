"""Who may call /dlr, seen through the proxies that are trusted."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.receive.serving import CALLBACK_HEADERS, Service, body, serve

IOVOX, STRANGER = "203.0.113.7", "198.51.100.1"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, sqlite_template: object) -> Iterator[Service]:
    url = f"sqlite:///{tmp_path_factory.mktemp('callers') / 'dlr.db'}"
    service = serve(
        url, DLR_TRUSTED_PROXIES="127.0.0.0/8,10.0.0.0/8", DLR_ALLOWED_CALLERS="203.0.113.0/24"
    )
    with service.process:
        yield service


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        (IOVOX, 200),
        (f"{STRANGER}, {IOVOX}", 200),
        (f"{IOVOX}, 10.0.0.9", 200),
        (STRANGER, 401),
        (f"{IOVOX}, {STRANGER}", 401),
        (None, 401),
    ],
)
@pytest.mark.parametrize("chunked", [False, True])  # the fast path, and ASGI's
def test_only_those_who_may_call_are_heard(
    guarded: Service, forwarded: str | None, status: int, *, chunked: bool
) -> None:
    receipt = body("an-id", "DELIVERED")
    headers = CALLBACK_HEADERS | ({"X-Forwarded-For": forwarded} if forwarded else {})
    answer = httpx.post(
        f"{guarded.url}/dlr",
        content=iter([receipt]) if chunked else receipt,
        headers=headers,
        trust_env=False,
    )
    assert answer.status_code == status
    if status == 401:
        wrong = httpx.post(f"{guarded.url}/dlr", content=receipt, trust_env=False)
        assert answer.content == wrong.content  # nothing is revealed


def test_the_log_names_who_was_refused(guarded: Service) -> None:
    httpx.post(f"{guarded.url}/dlr", headers={"X-Forwarded-For": STRANGER}, trust_env=False)
    assert f'"last": "{STRANGER}"' in guarded.process.output()
