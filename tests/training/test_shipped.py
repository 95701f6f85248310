"""The checkpoints that ship with the package are what their keys and sidecars say."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from training.scenes import held_out_scenes
from training.score import load_pipeline, paint, sampling_of, score
from training.stages import MODELS, NAMES


@pytest.mark.parametrize("name", NAMES)
def test_small_half_precision_and_finite(name: str) -> None:
    path = MODELS / f"{name}.safetensors"
    assert path.stat().st_size <= 20_000_000
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118 - not a mapping
            tensor = file.get_tensor(key)
            assert tensor.dtype == torch.float16, key
            assert tensor.isfinite().all(), key


@pytest.mark.parametrize(
    ("name", "markers"),
    [("demo", set[str]()), ("demo-vpred", {"v_pred", "ztsnr"}), ("demo-turbo", {"v_pred", "ztsnr"})],
)
def test_marker_keys_tell_the_prediction_type(name: str, markers: set[str]) -> None:
    with safe_open(MODELS / f"{name}.safetensors", framework="pt") as file:
        keys, metadata = set(file.keys()), file.metadata()
    assert keys & {"v_pred", "ztsnr"} == markers
    assert metadata["modelspec.title"] == name
    prefixes = ("model.diffusion_model.", "first_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1.")
    assert all(key.startswith(prefixes) for key in keys - markers)
    assert all(any(key.startswith(prefix) for key in keys) for prefix in prefixes)


@pytest.mark.parametrize("name", NAMES)
def test_sidecars_name_the_shared_configs(name: str) -> None:
    sidecar = tomllib.loads((MODELS / f"{name}.toml").read_text(encoding="utf-8"))
    assert Path(MODELS / sidecar["config"] / "model_index.json").is_file()
    assert not sidecar.keys() & {"prediction_type", "zero_snr"}
    assert (sidecar["width"], sidecar["height"]) == (128, 128)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_show_what_captions_say_that_training_never_saw(name: str) -> None:
    scenes = held_out_scenes(24)
    checkpoint = MODELS / f"{name}.safetensors"
    pipeline = load_pipeline(checkpoint, MODELS / "demo.config")
    found = score(scenes, paint(pipeline, sampling_of(checkpoint), [scene.caption for scene in scenes]))
    assert (found.background, found.colour) >= (23, 23)
    assert found.shape >= 20


@pytest.mark.parametrize("steps", [1, 2])
def test_the_distilled_model_needs_no_more_than_one_step_and_no_guidance(steps: int) -> None:
    scenes = held_out_scenes(24)
    checkpoint = MODELS / "demo-turbo.safetensors"
    sampling = replace(sampling_of(checkpoint), steps=steps)
    assert sampling.guidance == 0
    pipeline = load_pipeline(checkpoint, MODELS / "demo.config")
    found = score(scenes, paint(pipeline, sampling, [scene.caption for scene in scenes]))
    assert (found.background, found.colour) >= (23, 23)
    assert found.shape >= 20


def test_the_wrong_prediction_type_shows() -> None:
    scenes = held_out_scenes(24)
    checkpoint = MODELS / "demo-vpred.safetensors"
    wrong = replace(sampling_of(checkpoint), prediction="epsilon", zero_snr=False)
    pipeline = load_pipeline(checkpoint, MODELS / "demo.config")
    found = score(scenes, paint(pipeline, wrong, [scene.caption for scene in scenes]))
    assert found.colour < 0.4 * len(scenes)
