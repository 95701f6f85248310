"""The words of `litestar-diffusion inspect`: what was found, why, and what a request would get."""

import math
from pathlib import Path

import pytest

from litestar_diffusion.domain.errors import UnusableModel
from litestar_diffusion.infra.catalogue.reports.inspection_report import explain
from tests.headers import SDXL, sparse_file
from tests.pipelines import put_pipeline

BUILTIN = Path(__file__).parents[4] / "models"


def test_the_built_in_model_is_explained_with_its_sidecar_and_configs() -> None:
    text = explain(BUILTIN / "demo-vpred.safetensors")
    for words in (
        "usable, as model demo-vpred",
        "v-prediction: the file holds the key v_pred",
        "zero terminal SNR: the file holds the key ztsnr",
        "128 pixels",
        "Component configs: demo.config",
        "sampler euler",
        "timestep spacing trailing",
    ):
        assert words in text


def test_parameters_and_bytes_are_counted_by_component(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "x_lightning_8step.safetensors", {**SDXL, "model_ema.decay": (1000, 1000)})
    text = explain(path)
    rows = {line.strip().split("  ")[0]: line.split()[-6:] for line in text.splitlines() if " parameters " in line}
    assert rows["VAE"] == ["83.65", "M", "parameters", "0.17", "GB", "F16"]
    assert rows["other tensors"] == ["1.00", "M", "parameters", "2.0", "MB", "F16"]
    total = sum(math.prod(shape) for shape in SDXL.values()) + 1_000_000
    assert rows["in all"][0] == f"{total / 1e6:,.2f}"
    assert "few-step (lightning, 8 steps): its name says 'x_lightning_8step'" in text
    assert "8 steps, sampler euler" in text
    assert "guidance scale 0," in text


def test_metadata_is_shown_without_pictures_and_control_characters(tmp_path: Path) -> None:
    metadata = {"modelspec.title": "red \x1b[31m", "thumbnail": "data:image/jpeg;base64,AAAA", "long": "x" * 500}
    text = explain(sparse_file(tmp_path / "x.safetensors", SDXL, metadata))
    assert "\x1b" not in text
    assert "modelspec.title: red  [31m" in text
    assert "thumbnail: (a picture)" in text
    assert "x" * 101 not in text


def test_a_folder_is_explained(tmp_path: Path) -> None:
    text = explain(put_pipeline(tmp_path / "pipeline"))
    assert "model_index.json describes a StableDiffusionXLPipeline" in text
    assert "first text encoder" in text


def test_defaults_that_break_the_limits_are_told(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "x.safetensors", SDXL)
    path.with_suffix(".toml").write_text("num_inference_steps = 900\n")
    assert "num_inference_steps: must be at most" in explain(path)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("x.safetensors", b"", "empty"), ("x.ckpt", b"\x80\x02", "convert it"), ("x.png", b"\x89PNG", "truncated")],
)
def test_what_is_unusable_is_told_with_the_reason(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnusableModel, match=reason):
        explain(tmp_path / name)


def test_a_folder_that_is_no_pipeline_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=r"no model_index\.json"):
        explain(tmp_path)
