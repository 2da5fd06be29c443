"""The OpenAPI document against the service: `st run`, as anybody would call it, with each scope.

Fuzzing and stateful runs are short; with DLR_TEST_LONG=1 each scope has a minute of them on either
database, and its own run of what is systematic.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.receive.serving import AUTH_HEADER, SECRET, Service, serve, serving_a_copy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ST = Path(sys.executable).with_name("st")
TAGS = {
    ("send",): ["send"],
    ("read",): ["look up", "events", "evidence"],
    ("webhooks", "read"): ["webhooks"],
    ("support",): ["look up", "events"],
    ("admin",): ["rejected receipts", "record", "operations", "receive"],
}
"""Each operation once, with a key of the scopes that it needs and no more: seconds, not minutes."""
LONG = bool(os.environ.get("DLR_TEST_LONG"))


@pytest.fixture(scope="module")
def service(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("schemathesis")
    # All runs come from one address.
    with serving_a_copy(sqlite_template, folder, failed_logins=100_000) as running:
        yield running


def run(service: Service, folder: Path, scopes: Sequence[str], *words: str) -> None:
    header = f"Authorization: Bearer {service.key(*scopes)}"
    run_st(service, folder, "--header", header, *words)


def run_st(service: Service, folder: Path, *words: str, **env: str) -> None:
    command = [
        str(ST), "--config-file", str(ROOT / "schemathesis.toml"),
        "run", f"{service.url}/openapi.json", "--checks", "all", "--generation-deterministic",
        "--continue-on-failure", "--no-color", *words,
    ]  # fmt: skip
    hooks = {"SCHEMATHESIS_HOOKS": "tests.web.schemathesis_hooks", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **hooks, **env},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr


@pytest.mark.timeout(300)
def test_the_service_answers_as_its_document_says(service: Service, tmp_path: Path) -> None:
    """In one run, because each takes seconds to start: the hooks hand out the keys.

    A few random calls and chains of calls are in it.
    """
    keys: dict[str, list[str]] = {}
    for scopes, tags in TAGS.items():
        for tag in tags:
            keys.setdefault(tag, []).append(service.key(*scopes))
    words = ("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "3")
    run_st(service, tmp_path, *words, KEYS_BY_TAG=json.dumps(keys))


@pytest.mark.skipif(not LONG, reason="all of them together do otherwise: DLR_TEST_LONG=1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scopes", TAGS, ids=" ".join)
def test_the_service_answers_each_scope_as_its_document_says(
    service: Service, scopes: tuple[str, ...], tmp_path: Path
) -> None:
    tags = [word for tag in TAGS[scopes] for word in ("--include-tag", tag)]
    run(service, tmp_path, scopes, "--phases", "examples,coverage", *tags)


def test_receipts(service: Service, tmp_path: Path) -> None:
    """The other runs have no secret, so that /dlr refuses all that they send."""
    secret = ("--header", f"{AUTH_HEADER}: {SECRET}", "--include-path", "/dlr")
    run(
        service, tmp_path, ["read"], "--phases", "coverage,fuzzing", "--max-examples", "20", *secret
    )


@pytest.mark.skipif(not LONG, reason="takes ten minutes: DLR_TEST_LONG=1")
@pytest.mark.timeout(200)
@pytest.mark.parametrize("scopes", TAGS, ids=" ".join)
def test_many_random_calls(
    database_url: str, sqlite_template: Path, scopes: tuple[str, ...], tmp_path: Path
) -> None:
    del sqlite_template
    service = serve(database_url, DLR_LOG_LEVEL="warning")
    with service.process:
        words = ("--phases", "fuzzing,stateful", "--max-time", "60")
        run(service, tmp_path, scopes, *words)


def test_every_operation_is_run(service: Service) -> None:
    paths = httpx.get(f"{service.url}/openapi.json").json()["paths"].values()
    tags = {tag for path in paths for operation in path.values() for tag in operation["tags"]}
    assert tags == {tag for some in TAGS.values() for tag in some}
