"""deploy/nginx.conf: valid as it stands, quiet about numbers, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.events.sse import listening
from tests.events.world import World, serving
from tests.iovox.certificates import make_certificates
from tests.support.nginx import Nginx, program, render
from tests.support.ports import free_port

NUMBER = "447723443321"


def test_nginx_finds_no_fault_with_it(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    tls = (tmp_path / "server.crt", tmp_path / "server.key")
    (tmp_path / "logs").mkdir()
    text = render([1, 2], port=free_port(), folder=tmp_path, tls=tls)
    (tmp_path / "nginx.conf").write_text(text)
    pid = ["-g", f"pid {tmp_path}/nginx.pid;"]
    tested = subprocess.run(
        [program(), "-t", "-p", tmp_path, "-c", "nginx.conf", "-e", "logs/error.log", *pid],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stderr
    warnings = [line for line in tested.stderr.splitlines() if "[warn]" in line]
    assert not [line for line in warnings if '"user" directive' not in line]


def test_clients_speak_tls(nginx_is_there: None, tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    trusting = ssl.create_default_context(cafile=made.ca)
    with Nginx([1], tls=(tmp_path / "server.crt", tmp_path / "server.key")) as nginx:
        answer = httpx.get(f"https://127.0.0.1:{nginx.port}/healthz", verify=trusting)
    assert answer.status_code == 502
    assert answer.json()["title"] == "No replica has answered"


def test_what_nobody_answers_is_a_problem_that_promises_nothing(nginx_is_there: None) -> None:
    """Not 503: that says that nothing was stored, and clients send again."""
    with Nginx([free_port(), free_port()]) as nginx:
        answer = httpx.post(f"{nginx.url}/v1/messages", json={}, trust_env=False)
        assert answer.status_code == 502
        assert answer.headers["content-type"] == "application/problem+json"
        assert "unknown" in answer.json()["detail"]
        for path, limit in (("/dlr", 64), ("/v1/messages", 64), ("/v1/messages/batch", 4096)):
            for size, status in ((limit * 1024, 502), (limit * 1024 + 1, 413)):
                answer = httpx.post(f"{nginx.url}{path}", content=b"x" * size, trust_env=False)
                assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert httpx.get(f"{nginx.url}/metrics", trust_env=False).status_code == 404


async def test_numbers_are_in_no_log_and_in_no_file(nginx_is_there: None, sqlite_url: str) -> None:
    """Filters are in the address; also where no replica answers, which error logs quote."""
    async with serving(sqlite_url) as world:
        key = await world.key()
        port = world.client.base_url.port
        assert port is not None
        with Nginx([port, free_port()]) as nginx:
            async with httpx.AsyncClient(
                base_url=nginx.url, headers=key, trust_env=False
            ) as client:
                for _ in range(4):
                    found = await client.get(f"/v1/messages?destination={NUMBER}")
                    assert found.status_code == 200
            written = nginx.everything_written()
        with Nginx([free_port()]) as nginx:
            async with httpx.AsyncClient(base_url=nginx.url, trust_env=False) as client:
                lost = await client.get(f"/v1/messages?destination={NUMBER}")
            assert lost.status_code == 502
            written += nginx.everything_written()
    assert NUMBER not in written
    lines = [json.loads(line) for line in written.splitlines()]
    assert [line["path"] for line in lines] == ["/v1/messages"] * 5
    assert {line["status"] for line in lines} == {"200", "502"}
    assert any("502, 200" in line["replica_statuses"] for line in lines), "no retry of a GET"


async def test_streams_and_waits_are_not_held_back(nginx_is_there: None, sqlite_url: str) -> None:
    async with serving(sqlite_url, stream_heartbeat=0.5) as world, through_nginx(world) as client:
        key = await world.key()
        (message,) = await world.submitted()
        async with listening(client, key) as reader:
            waiting = asyncio.create_task(
                client.get(f"/v1/messages/{message.id}?wait=20", headers=key)
            )
            await asyncio.sleep(1.2)
            assert reader.comments, "a heartbeat was held back"
            began = time.monotonic()
            await world.receive("DELIVERED", message)
            seen = await reader.until(1)
            answer = await waiting
            assert time.monotonic() - began < 2
        assert [event["status"] for event in seen] == ["DELIVERED"]
        assert answer.json()["status"] == "DELIVERED"


async def test_an_export_comes_whole(nginx_is_there: None, sqlite_url: str) -> None:
    async with serving(sqlite_url) as world, through_nginx(world) as client:
        key = await world.key()
        await world.queue(1500)
        answer = await client.get("/v1/messages", headers={**key, "Accept": "text/csv"})
        assert answer.status_code == 200, answer.text
        assert len(answer.text.splitlines()) == 1501


@asynccontextmanager
async def through_nginx(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the world's service."""
    with Nginx([world.client.base_url.port or 0]) as nginx:
        async with httpx.AsyncClient(base_url=nginx.url, trust_env=False, timeout=30) as client:
            yield client
