"""The catalogue over real files: what is there, what changed, what is broken, and who wins."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from safetensors.torch import save_file as save_torch

from litestar_diffusion.domain.errors import UnknownModel
from litestar_diffusion.domain.model import Checkpoint, Folder, HubModel, ModelOverrides
from litestar_diffusion.infra.catalogue import ModelCatalogue
from litestar_diffusion.infra.explain import explain
from litestar_diffusion.infra.sdxl.checkpoint import open_checkpoint
from litestar_diffusion.infra.sdxl.components import build_network

BUILTIN = Path(__file__).parents[2] / "models"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def put(models: Path, name: str, *, config: bool = True) -> Path:
    """A copy of the built-in model under another name."""
    path = models / f"{name}.safetensors"
    shutil.copy(BUILTIN / "demo.safetensors", path)
    if config:
        shutil.copytree(BUILTIN / "demo.config", models / f"{name}.config")
    return path


def catalogue(models: Path, **options: object) -> ModelCatalogue:
    chosen = {"directories": [models], "overrides": {}, "hub": (), "hub_cache": models.parent / "hub", **options}
    return ModelCatalogue(**chosen)  # type: ignore[arg-type]


def test_a_file_with_its_config_is_a_model(models: Path) -> None:
    put(models, "mine")
    spec = catalogue(models).get("mine")
    assert spec.unusable is None
    assert spec.source == Checkpoint(path=models / "mine.safetensors", config=models / "mine.config")
    assert spec.traits.size_px == 128


def test_without_its_config_the_shapes_are_refused_with_a_way_out(models: Path) -> None:
    put(models, "mine", config=False)
    reason = catalogue(models).get("mine").unusable
    assert reason is not None
    assert "<name>.config" in reason


def test_added_replaced_and_removed_files_are_noticed(models: Path) -> None:
    known = catalogue(models)
    assert known.list() == []
    path = put(models, "mine")
    first = known.get("mine")
    tensors = load_file(path)
    save_file({**tensors, "v_pred": np.zeros(1, np.float16)}, path)
    second = known.get("mine")
    assert second.version != first.version
    assert second.traits.prediction_type == "v_prediction"
    (models / "mine.toml").write_text('prediction_type = "epsilon"\n')
    assert known.get("mine").traits.prediction_type == "epsilon"
    path.unlink()
    with pytest.raises(UnknownModel):
        known.get("mine")


def test_settings_beat_the_sidecar_and_the_sidecar_beats_the_header(models: Path) -> None:
    shutil.copy(BUILTIN / "demo-vpred.safetensors", models / "mine.safetensors")
    shutil.copytree(BUILTIN / "demo.config", models / "mine.config")
    (models / "mine.toml").write_text('prediction_type = "epsilon"\nguidance_scale = 4.0\nnum_inference_steps = 9\n')
    assert catalogue(models).get("mine").traits.prediction_type == "epsilon"
    stated = ModelOverrides(prediction_type="v_prediction", guidance_scale=6.0)
    spec = catalogue(models, overrides={"mine": stated}).get("mine")
    assert spec.traits.prediction_type == "v_prediction"
    assert spec.overrides.guidance_scale == 6.0
    assert spec.overrides.num_inference_steps == 9


def test_broken_files_stay_listed_with_the_reason_and_harm_no_other(models: Path) -> None:
    whole = put(models, "whole").read_bytes()
    (models / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (models / "empty.safetensors").touch()
    (models / "folder.safetensors").mkdir()
    (models / "fake.safetensors").write_bytes(b"PK\x03\x04")
    (models / "old.ckpt").write_bytes(b"\x80\x02")
    (models / "bad-sidecar.safetensors").write_bytes(whole)
    (models / "bad-sidecar.toml").write_text("guidance = 3\n")
    (models / "spaced name.safetensors").write_bytes(whole)  # listed under a name that can stand in a URL
    specs = {str(spec.name): spec for spec in catalogue(models).list()}
    assert "spaced-name" in specs
    reasons = {name: spec.unusable or "" for name, spec in specs.items()}
    assert reasons["whole"] == ""
    for name, reason in {
        "cut": "truncated",
        "empty": "empty",
        "folder": "directory",
        "fake": "pickle",
        "old": "pickle",
        "bad-sidecar": "guidance_scale",
    }.items():
        assert reason in reasons[name], (name, reasons[name])


def test_a_config_outside_the_folder_is_refused(models: Path) -> None:
    put(models, "mine")
    (models / "mine.toml").write_text('config = "../hub"\n')
    assert "beside the file" in (catalogue(models).get("mine").unusable or "")


def test_a_diffusers_folder_is_a_model_and_one_of_pickles_is_not(models: Path) -> None:
    folder = models / "whole-folder"
    shutil.copytree(BUILTIN / "demo.config", folder)
    with open_checkpoint(BUILTIN / "demo.safetensors") as weights:
        for component in ("unet", "vae", "text_encoder", "text_encoder_2"):
            tensors = weights(component, build_network(component, BUILTIN / "demo.config"))
            whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
            save_torch(whole, folder / component / "model.safetensors")
    sampler = folder / "scheduler" / "scheduler_config.json"
    sampler.write_text(json.dumps({**json.loads(sampler.read_text()), "prediction_type": "v_prediction"}))
    spec = catalogue(models).get("whole-folder")
    assert spec.unusable is None
    assert spec.source == Folder(path=folder)
    assert spec.traits.prediction_type == "v_prediction"
    (folder / "unet" / "model.safetensors").rename(folder / "unet" / "model.bin")
    (folder / "model_index.json").touch()
    assert "pickle" in (catalogue(models).get("whole-folder").unusable or "")


def test_what_loading_found_broken_stays_so_until_the_file_changes(models: Path) -> None:
    path = put(models, "mine")
    known = catalogue(models)
    spec = known.get("mine")
    known.mark_unusable(spec.name, spec.version, "a tensor is missing")
    assert known.get("mine").unusable == "a tensor is missing"
    path.write_bytes(path.read_bytes())
    assert known.get("mine").unusable is None


def test_hub_models_are_listed_without_a_request(models: Path) -> None:
    hub = [HubModel(name="sdxl-turbo", repo="stabilityai/sdxl-turbo"), HubModel(name="x", repo="a/b", zero_snr=True)]
    known = catalogue(models, hub=hub)
    turbo = known.get("sdxl-turbo")
    assert turbo.traits.few_step is not None
    assert (turbo.traits.few_step.steps, turbo.traits.size_px, turbo.nbytes) == (1, 512, None)
    assert known.get("x").traits.zero_snr


def test_an_unknown_name_lists_the_usable_ones(models: Path) -> None:
    put(models, "mine")
    (models / "empty.safetensors").touch()
    with pytest.raises(UnknownModel) as caught:
        catalogue(models).get("nope")
    assert caught.value.available == ("mine",)


def test_the_explanation_says_what_was_found_and_why() -> None:
    text = explain(BUILTIN / "demo.safetensors")
    for words in ("usable", "epsilon prediction", "second text encoder", "demo.config", "steps, sampler euler"):
        assert words in text
