"""The files of deploy/ are what their tools accept, and agree with the server. Each tool is the real one, or its schema."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from litestar_diffusion.settings import ServerSettings, load_settings
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
UNIT = DEPLOY / "systemd" / "litestar-diffusion.service"
VERSIONS = ("1.30", "1.34")


def tool(name: str, where: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: {where}")
    return found


def ran(*command: str, **arguments: Any) -> str:
    process = subprocess.run(command, capture_output=True, text=True, check=False, **arguments)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout + process.stderr


def documents(*files: Path) -> Iterator[Any]:
    yaml = pytest.importorskip("yaml", reason="uv sync --group deploy")
    for file in files:
        yield from yaml.safe_load_all(file.read_text())


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert ran(tool("hadolint", "uv sync --group deploy"), str(DEPLOY / "Dockerfile")) == ""


def test_docker_compose_reads_the_file_with_both_profiles() -> None:
    compose = tool("docker-compose", "apt-get install docker-compose")
    told = ran(compose, "-f", str(DEPLOY / "compose.yaml"), "--profile", "gpu", "config")
    for part in ("target: cpu", "target: cuda", "- gpu", "read_only: true"):
        assert part in told


def test_compose_names_settings_that_exist() -> None:
    [compose] = documents(DEPLOY / "compose.yaml")
    for service in compose["services"].values():
        settings = load_settings(environment={k: str(v) for k, v in service["environment"].items()})
        assert settings.server.insecure
        assert service["ports"] == ["127.0.0.1:8000:8000"], "without keys no other machine may reach it"
        assert grace_s(service["stop_grace_period"]) > settings.server.shutdown_grace_s + 5


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    text = UNIT.read_text().replace("/opt/litestar-diffusion/bin/litestar-diffusion", sys.executable)
    unit = tmp_path / UNIT.name
    unit.write_text(text)
    told = ran(analyze, "verify", "--man=no", "--recursive-errors=no", str(unit))
    assert UNIT.name not in told, told


def test_systemd_rates_the_unit_as_well_protected() -> None:
    analyze = tool("systemd-analyze", "apt-get install systemd")
    told = ran(analyze, "security", "--offline=true", "--threshold=25", str(UNIT))  # of 100, in which 0 is the best
    assert "OK" in told


def test_systemd_waits_for_as_long_as_images_may_run() -> None:
    stop_s = int(UNIT.read_text().partition("TimeoutStopSec=")[2].split()[0])
    assert stop_s > ServerSettings().shutdown_grace_s + 5


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field_of_the_manifests(version: str) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="uv sync --group deploy").validate
    found = [*cpu_manifests(), gpu_deployment()]
    for manifest in found:
        validate(manifest, version, strict=True)
    assert {each["kind"] for each in found} == {"Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim"}


def test_the_settings_of_the_pod_are_settings() -> None:
    settings = load_settings(KUBERNETES / "settings.toml", {})
    [deployment] = [each for each in cpu_manifests() if each["kind"] == "Deployment"]
    spec = deployment["spec"]["template"]["spec"]
    [container] = spec["containers"]
    paused_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > paused_s + settings.server.shutdown_grace_s + 10
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {settings.models.directory, "/data", "/tmp"} <= mounted
    assert str(settings.hub.cache).startswith("/data/")
    assert container["args"][-1] in {f"{path}/settings.toml" for path in mounted}


def test_kustomizations_name_files_that_exist() -> None:
    for folder in (KUBERNETES, KUBERNETES / "gpu"):
        [kustomization] = documents(folder / "kustomization.yaml")
        named = [*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", ()))]
        named += [file for each in kustomization.get("configMapGenerator", ()) for file in each["files"]]
        assert [name for name in named if not (folder / name).exists()] == []
    tomllib.loads((KUBERNETES / "settings.toml").read_text())


def cpu_manifests() -> list[Any]:
    [kustomization] = documents(KUBERNETES / "kustomization.yaml")
    return list(documents(*(KUBERNETES / name for name in kustomization["resources"])))


def gpu_deployment() -> Any:
    """The deployment with the patch of the GPU, merged as kustomize does: lists of named objects by their names."""
    [patch] = documents(KUBERNETES / "gpu" / "deployment.yaml")
    [deployment] = documents(KUBERNETES / "deployment.yaml")
    return merged(deployment, patch)


def merged(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return {**below, **{key: merged(below.get(key), value) for key, value in above.items()}}
    if isinstance(below, list) and isinstance(above, list) and all("name" in each for each in above):
        named = {each["name"]: each for each in below}
        return list({**named, **{each["name"]: merged(named.get(each["name"]), each) for each in above}}.values())
    return above


def grace_s(text: str) -> int:
    return int(text.removesuffix("s"))
