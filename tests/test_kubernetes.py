"""deploy/kubernetes: by Kubernetes' own schemas, and by what the service asks of a machine."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import FILE, SECRETS, Settings, variable
from tests.support.process import PROJECT

FOLDER = PROJECT / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
VERSIONS = ("1.30", "1.37")
OF_OPERATORS = {"DLR_OPS_PORT", "DLR_OPS_HOST"}


@cache
def validator() -> Any:
    """Imported by who needs it: that takes a second, in every test process."""
    return import_module("kubernetes_validate")


def resources() -> list[dict[str, Any]]:
    return [
        each
        for name in KUSTOMIZATION["resources"]
        for each in yaml.safe_load_all((FOLDER / name).read_text())
    ]


def pods() -> dict[str, dict[str, Any]]:
    kinds = ("StatefulSet", "Job", "Deployment")
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in resources()
        if each["kind"] in kinds
    }


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "resource", resources(), ids=lambda each: f"{each['kind']} {each['metadata']['name']}"
)
def test_the_schemas_accept_it(resource: dict[str, Any], version: str) -> None:
    validator().validate(resource, version, strict=True)


def test_the_schemas_would_see_a_misspelt_key() -> None:
    broken = yaml.safe_load(yaml.safe_dump(resources()[0]).replace("template:", "templat:"))
    with pytest.raises(validator().ValidationError):
        validator().validate(broken, VERSIONS[0], strict=True)


def test_every_file_is_part_of_it() -> None:
    there = {path.name for path in FOLDER.glob("*.yaml")}
    assert there == {*KUSTOMIZATION["resources"], "kustomization.yaml"}
    for generator in KUSTOMIZATION["secretGenerator"]:
        for name in generator["files"]:
            assert (FOLDER / name).is_file()


def test_every_variable_is_one_that_the_service_reads() -> None:
    known = {variable(name) for name in Settings.model_fields} | OF_OPERATORS
    known |= {variable(name) + FILE for name in SECRETS}
    literals = KUSTOMIZATION["configMapGenerator"][0]["literals"]
    given = {each.partition("=")[0] for each in literals}
    for pod in pods().values():
        given |= {each["name"] for each in pod["containers"][0].get("env", [])}
    assert given <= known
    assert {"DLR_PUBLIC_URL", "DLR_IOVOX_USERNAME", "DLR_DATABASE_URL_FILE"} <= given


def test_every_file_of_a_secret_is_mounted_by_the_name_that_the_service_opens() -> None:
    keys = {Path(name).name for name in KUSTOMIZATION["secretGenerator"][0]["files"]}
    for pod in pods().values():
        container = pod["containers"][0]
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "secrets"]
        for each in container["env"]:
            assert Path(each["value"]).parent == Path(mount["mountPath"])
            assert Path(each["value"]).name in keys


@pytest.mark.parametrize("name", pods())
def test_each_runs_as_the_images_user_on_a_root_that_it_cannot_write_to(name: str) -> None:
    pod = pods()[name]
    user = re.search(r"^USER (\d+):", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert pod["securityContext"]["runAsUser"] == int(user[1])
    security = pod["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert pod["containers"][0]["resources"]["limits"]["memory"]


def test_a_spool_outlives_its_pod_and_a_stop_has_time() -> None:
    for each in resources():
        if each["kind"] == "StatefulSet":
            spec = each["spec"]
            assert spec["volumeClaimTemplates"][0]["metadata"]["name"] == "data"
            grace = spec["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace > Settings.model_fields["shutdown_timeout"].default


def test_readiness_does_not_depend_on_the_database() -> None:
    """A replica that is taken out while the database is away would lose receipts."""
    for name in ("service", "worker"):
        assert pods()[name]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/healthz"
