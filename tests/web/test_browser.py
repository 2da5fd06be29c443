"""What a browser may do: pages of the origins that are configured, and the documentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.receive.serving import bearer, serve

ORIGIN = "https://support.example.com"


@contextmanager
def serving(folder: Path, **env: str) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    running = serve(f"sqlite:///{folder / 'dlr.db'}", port=None, **env)
    try:
        with httpx.Client(base_url=running.url, timeout=10) as client:
            yield client, bearer(running.key("send", "read"))
    finally:
        running.process.close()


@pytest.fixture
def folder(tmp_path: Path, sqlite_url: str) -> Path:
    assert sqlite_url.endswith(f"{tmp_path}/dlr.db")
    return tmp_path


def preflight(client: httpx.Client, path: str, origin: str, method: str) -> httpx.Response:
    asked = {"Access-Control-Request-Method": method}
    asked["Access-Control-Request-Headers"] = (
        "authorization, content-type, prefer, traceparent, x-request-id"
    )
    return client.options(path, headers={"Origin": origin} | asked)


def test_pages_of_the_origins_that_are_set_may_call_it(folder: Path) -> None:
    origins = "HTTPS://Support.Example.com:443, http://127.0.0.1:5173"
    with serving(folder, DLR_CORS_ORIGINS=origins) as (client, key):
        for origin in (ORIGIN, "http://127.0.0.1:5173"):
            for path, method in (("/v1/messages", "POST"), ("/v1/webhooks/x", "DELETE")):
                allowed = preflight(client, path, origin, method)
                assert allowed.status_code == 200
                assert allowed.headers["access-control-allow-origin"] == origin
                assert method in allowed.headers["access-control-allow-methods"]
                assert "access-control-allow-credentials" not in allowed.headers
            for headers, status in ((key, 200), ({}, 401)):
                found = client.get("/v1/messages", headers={"Origin": origin} | headers)
                assert found.status_code == status
                assert found.headers["access-control-allow-origin"] == origin
                readable = found.headers["access-control-expose-headers"].split(", ")
                assert {"Link", "X-Request-Id"} <= set(readable)
        for stranger in ("https://evil.example.com", f"{ORIGIN}.evil.example.com", "null"):
            refused = preflight(client, "/v1/messages", stranger, "POST")
            assert "access-control-allow-origin" not in refused.headers
        for answer in (
            client.post("/dlr", headers={"Origin": ORIGIN}),
            preflight(client, "/dlr", ORIGIN, "POST"),
        ):
            assert answer.status_code in (401, 405)
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_page_may_unless_its_origin_is_set(folder: Path) -> None:
    with serving(folder) as (client, key):
        found = client.get("/v1/messages", headers={"Origin": ORIGIN} | key)
        assert found.status_code == 200
        assert preflight(client, "/v1/messages", ORIGIN, "POST").status_code == 405
        assert not [name for name in found.headers if name.startswith("access-control")]


def test_the_documentation_is_switched_off(folder: Path) -> None:
    with serving(folder, DLR_DOCS="false") as (client, _):
        for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/redoc"):
            gone = client.get(path)
            assert gone.status_code == 404
            assert gone.headers["content-type"] == "application/problem+json"
            assert "/docs" not in gone.json()["detail"]
        assert client.delete("/v1/messages").headers["allow"] == "GET, POST"
