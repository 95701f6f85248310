"""The wheel holds everything: installed in an empty folder, the built-in model is there."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as an installer leaves it."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not on the path, and it builds the wheel")
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", out, ROOT], check=True, timeout=300)
    site = out / "site"
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def test_the_built_in_models_and_the_hub_ones_are_there_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "litestar_diffusion", "models", "--json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    models = {entry["name"]: entry for entry in json.loads(done.stdout)}
    assert {"demo", "demo-turbo", "demo-vpred", "sdxl-base", "sdxl-turbo"} <= set(models)
    assert models["demo"]["unusable"] is None


def test_configs_tokenizers_and_type_marker_travel_along(installed: Path) -> None:
    package = installed / "litestar_diffusion"
    for name in (
        "py.typed",
        "builtin/demo.config/unet/config.json",
        "builtin/loras/outline.safetensors",
        "domain/families/sdxl/adapter_files/reading.py",
        "infra/diffusion/fast_layers/patches.py",
        "infra/diffusion/side_paths/side_path.py",
        "builtin/embeddings/turquoise.safetensors",
        "infra/jobs/migrations/env.py",
        "infra/jobs/migrations/versions/0001_jobs.py",
        "infra/sdxl/configs/tokenizer/merges.txt",
        "infra/sdxl/configs/unet/config.json",
    ):
        assert (package / name).is_file(), name
    assert not list(package.rglob("*.ckpt"))


def test_every_package_is_in_the_wheel() -> None:
    """Setuptools takes those that are listed, and one that is not fails at its import."""
    app = ROOT / "app"
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        ".".join(("litestar_diffusion", *file.parent.relative_to(app).parts)) for file in app.rglob("__init__.py")
    }
    assert set(stated) == folders | {"litestar_diffusion.builtin"}
