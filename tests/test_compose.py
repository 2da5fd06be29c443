"""What operators deploy by: the Compose file holds together and the Dockerfile keeps the rules.

No engine is needed. Compose itself is asked too, where Docker has it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import Settings
from tests.support.process import PROJECT

COMPOSE_FILE = PROJECT / "docker-compose.yml"
BIN = Path(sys.executable).parent
REQUIRED = {
    "POSTGRES_PASSWORD",
    "DLR_PUBLIC_URL",
    "DLR_CALLBACK_URL_HEADERS",
    "DLR_IOVOX_USERNAME",
    "DLR_IOVOX_SECURE_KEY",
}
REPLICAS = ("service-1", "service-2")
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def run(*command: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=PROJECT,
        env=os.environ | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_follows_the_compose_specification_which_would_see_a_misspelt_key(tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE_FILE.read_text().replace("depends_on:", "depend_on:"))
    command = (BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    done = run(*command, "--output-format", "json", COMPOSE_FILE, broken)
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert {each["filename"] for each in found["errors"]} == {str(broken)}
    assert found["parse_errors"] == []


def test_compose_itself_accepts_it() -> None:
    docker = shutil.which("docker")
    if docker is None or run(docker, "compose", "version").returncode:
        pytest.skip("there is no `docker compose` here")
    done = run(docker, "compose", "config", "--quiet", **dict.fromkeys(REQUIRED, "x"))
    assert done.returncode == 0, done.stderr


def test_the_parts_are_those_the_readme_tells_of() -> None:
    replicas, optional = {"service-1", "service-2"}, {"simulator", "prometheus", "grafana"}
    assert set(services()) == {"postgres", "migrate", "worker", "proxy"} | replicas | optional
    assert {name for name in services() if "profiles" in services()[name]} == optional


def test_each_waits_for_something_that_exists_and_can_be_waited_for() -> None:
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services(), name
            assert how["condition"] in CONDITIONS, name
            if how["condition"] == "service_healthy":
                assert services()[other]["healthcheck"]["test"]


def test_the_service_starts_after_the_migrations_and_they_after_the_database() -> None:
    for name in (*REPLICAS, "worker"):
        assert services()[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"}
        }
    assert services()["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


def test_named_volumes_are_declared_and_used() -> None:
    used = {
        volume.split(":")[0]
        for service in services().values()
        for volume in service.get("volumes", [])
        if volume[0] not in "./$"
    }
    assert used == set(compose()["volumes"])


def test_the_spool_is_on_a_volume() -> None:
    service = services()["service-1"]
    folders = [volume.split(":")[1] for volume in service["volumes"]]
    spool = service["environment"]["DLR_SPOOL_DIR"]
    assert any(spool.startswith(f"{folder}/") for folder in folders)


def test_only_the_proxy_can_be_reached_from_another_machine() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert set(ports) == {"proxy", "prometheus", "grafana"}
    inside = ports["prometheus"] + ports["grafana"]
    assert all(port.startswith("127.0.0.1:") for port in inside)


def test_every_required_variable_stops_the_start_with_a_hint() -> None:
    hints = dict(re.findall(r"\$\{(\w+):\?([^}]+)\}", COMPOSE_FILE.read_text()))
    assert set(hints) == REQUIRED
    assert all(len(hint.split()) > 3 for hint in hints.values())


def test_every_variable_set_is_one_the_service_reads() -> None:
    known = {f"DLR_{name.upper()}" for name in Settings.model_fields}
    for name in (*REPLICAS, "worker", "migrate"):
        assert set(services()[name]["environment"]) <= known


def test_long_running_parts_come_back_and_are_watched() -> None:
    for name in services().keys() - {"migrate"}:
        assert services()[name]["restart"] == "unless-stopped"
        assert services()[name]["healthcheck"]["test"][0] == "CMD"


def test_the_service_has_longer_to_stop_than_it_takes() -> None:
    for name in (*REPLICAS, "worker"):
        assert services()[name]["stop_grace_period"] == "1m"
    assert Settings.model_fields["shutdown_timeout"].default < 60


def test_the_dockerfile_is_clean() -> None:
    done = run(BIN / "hadolint", "Dockerfile")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_without_root_and_is_stopped_by_sigterm() -> None:
    lines = PROJECT.joinpath("Dockerfile").read_text().splitlines()
    last = {word: rest for word, _, rest in (line.partition(" ") for line in lines)}
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["ENTRYPOINT"] == '["dlr"]'
    assert last["CMD"] == '["serve", "--host", "0.0.0.0"]'


def test_the_image_is_built_from_files_that_exist_and_are_let_in() -> None:
    copied = [
        name
        for line in PROJECT.joinpath("Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for name in line.split()[1:-1]
    ]
    let_in = PROJECT.joinpath(".dockerignore").read_text().split()
    for name in copied:
        assert (PROJECT / name).exists(), name
        assert f"!{name}" in let_in, name


def test_every_part_has_limits_of_its_memory_and_its_log() -> None:
    for name, service in services().items():
        assert service["mem_limit"], name
        assert service["logging"]["options"].keys() >= {"max-size", "max-file"}, name


def test_the_replicas_are_where_nginx_looks_for_them() -> None:
    """The proxy runs the tested file with this network's addresses in it."""
    upstream = re.findall(
        r"server 10\.0\.0\.(\d+):8080", (PROJECT / "deploy/nginx.conf").read_text()
    )
    last = [
        services()[name]["networks"]["inside"]["ipv4_address"].rpartition(".")[2]
        for name in REPLICAS
    ]
    assert last == upstream
    proxy = services()["proxy"]["networks"]["inside"]["ipv4_address"]
    trusted = services()["service-1"]["environment"]["DLR_TRUSTED_PROXIES"]
    assert trusted == f"{proxy}/32"


def test_what_is_mounted_from_here_exists() -> None:
    """alerts.yml and the dashboard too, without which Docker would make folders in their place."""
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (PROJECT / volume.partition(":")[0]).exists(), (name, volume)


def test_each_role_has_a_target_that_says_how_its_health_is_asked_for() -> None:
    text = PROJECT.joinpath("Dockerfile").read_text()
    stages = dict(re.findall(r"(?ms)^FROM base AS (\w+)\n(.*?)(?=^FROM|\Z)", text))
    assert list(stages) == ["migrate", "worker", "service"]  # the last one is the default
    assert "HEALTHCHECK NONE" in stages["migrate"]
    assert "9090/healthz" in stages["worker"]
    assert "8080/healthz" in stages["service"]
    built = {each["build"]["target"] for each in services().values() if "build" in each}
    assert built == set(stages)
