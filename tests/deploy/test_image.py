"""The steps of the Dockerfile, run in plain folders: no registry is needed to know that what they install serves images."""

import ast
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, SETTINGS, Server, free_port, stop
from tests.deploy.dockerfile import Stage, stages_of

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
STAGES = stages_of(DOCKERFILE)
BODY = {"prompt": "a red circle", "seed": 1, "num_inference_steps": 1}


def context(folder: Path) -> Path:
    """Copy what .dockerignore lets into the build."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


class Build:
    """Runs the commands of stages with their paths below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "src"
        self.source.mkdir()

    def run(self, stage: Stage, *, of: slice = slice(None)) -> None:
        for command in stage.runs[of]:
            subprocess.run(
                ["sh", "-euc", self.placed(command)],
                cwd=self.source,
                env={**os.environ, **self.environment(stage), "UV_LINK_MODE": "hardlink"},
                check=True,
            )

    def environment(self, stage: Stage) -> dict[str, str]:
        stated = {**stage.arguments, **stage.environment}
        return {name: self.placed(value).replace("$PATH", os.environ["PATH"]) for name, value in stated.items()}

    def placed(self, text: str) -> str:
        for path in ("/opt/litestar-diffusion", "/dist", "/data", "/models"):
            text = text.replace(path, str(self.folder) + path)
        return text


def healthy(build: Build, stage: Stage, environment: Mapping[str, str]) -> bool:
    """Run the health check of the image."""
    python, *arguments = ast.literal_eval(stage.healthcheck.partition("CMD ")[2])
    command = [build.placed(f"/opt/litestar-diffusion/bin/{python}"), *arguments]
    return (
        subprocess.run(command, env={**os.environ, **environment}, check=False, stderr=subprocess.DEVNULL).returncode
        == 0
    )


@pytest.mark.slow
def test_what_the_steps_install_serves_an_image_and_is_healthy(tmp_path: Path) -> None:
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path")
    build = Build(tmp_path)
    context(build.source)
    # Of the two targets the one whose packages come from PyPI alone.
    for name in ("wheel", "locked", "cuda-packages"):
        build.run(STAGES[name])
    image = STAGES["cuda"]
    build.run(image, of=slice(-1, None))
    for folder in ("data", "models"):
        (tmp_path / folder).mkdir()
    port = free_port()
    environment = {
        **build.environment(image),
        **SETTINGS,
        "LITESTAR_DIFFUSION__SERVER__HOST": "127.0.0.1",
        "LITESTAR_DIFFUSION__SERVER__PORT": str(port),
        "LITESTAR_DIFFUSION__DEVICE__NAME": "cpu",
    }
    assert not healthy(build, image, environment), "nothing runs yet"
    log = tmp_path / "server.log"
    with log.open("wb") as sink:
        command = [build.placed("/opt/litestar-diffusion/bin/litestar-diffusion"), "serve"]
        process = subprocess.Popen(
            command, cwd=tmp_path / "data", env={**os.environ, **environment}, stdout=sink, stderr=sink
        )
    server = Server(process=process, url=f"http://127.0.0.1:{port}", log=log, begun=0)
    try:
        server.wait_until("/health/ready")
        assert healthy(build, image, environment)
        answer = httpx.post(f"{server.url}/generate/demo", json=BODY, headers={"accept": "image/png"}, timeout=120)
        assert answer.headers["content-type"] == "image/png"
        installed = next((tmp_path / "opt").rglob("litestar_diffusion/__init__.py"))
        assert ROOT not in installed.parents, "it runs what was built, and not the checkout"
    finally:
        stop(server)


def test_without_keys_a_container_says_what_it_needs() -> None:
    """Its address can be reached from other machines, so it does not start before keys are made or `insecure` is said."""
    assert STAGES["cpu"].environment["LITESTAR_DIFFUSION__SERVER__HOST"] == "0.0.0.0"
    assert "LITESTAR_DIFFUSION__SERVER__INSECURE" not in STAGES["cpu"].environment


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_images_run_as_a_user_without_rights_whose_number_kubernetes_can_check(target: str) -> None:
    assert STAGES[target].user == "10001:10001"


def test_the_packages_of_the_cpu_image_are_all_but_those_of_cuda(tmp_path: Path) -> None:
    """The two lists of the Dockerfile's own commands together are the list of uv.lock."""
    build = Build(tmp_path)
    shutil.copy(ROOT / "pyproject.toml", build.source)
    shutil.copy(ROOT / "uv.lock", build.source)
    build.run(STAGES["locked"])
    build.run(STAGES["cpu-packages"], of=slice(0, 1))
    everything, torch, others = (
        {line.split("==")[0] for line in (build.source / name).read_text().splitlines() if "==" in line}
        for name in ("all.txt", "torch.txt", "others.txt")
    )
    assert torch == {"torch", "torchvision"}
    left_out = everything - torch - others
    assert left_out
    assert {name.partition("-")[0] for name in left_out} == {"nvidia", "cuda", "triton"}
    assert {"litestar", "diffusers", "safetensors"} <= others
