"""Diffusers folders in the catalogue: whole ones are models, everything else stays listed with the reason."""

import asyncio
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from litestar_diffusion.domain.models.spec import Folder
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.sdxl.loading.components import build_network
from litestar_diffusion.infra.sdxl.loading.key_conversion import component_weights
from tests.catalogues import found
from tests.headers import sparse_file
from tests.pipelines import WEIGHTS, put_pipeline

MODELS = Path(__file__).parents[4] / "models"
SHARDS = ("diffusion_pytorch_model-00001-of-00002.safetensors", "diffusion_pytorch_model-00002-of-00002.safetensors")


@pytest.fixture
def known(tmp_path: Path) -> ModelCatalogue:
    return ModelCatalogue(directories=[tmp_path], overrides={}, hub=(), hub_cache=tmp_path / "hub")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put_pipeline(tmp_path / "pipeline")


def reason(known: ModelCatalogue) -> str:
    return found(known, "pipeline").unusable or ""


def test_a_whole_folder_is_a_model_and_a_changed_config_is_noticed(known: ModelCatalogue, folder: Path) -> None:
    spec = found(known, "pipeline")
    assert spec.unusable is None
    assert spec.source == Folder(path=folder)
    assert spec.traits.size_px == 128
    assert spec.nbytes == 2 * sum(math.prod(shape) for shapes in WEIGHTS.values() for shape in shapes.values())
    (folder / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "v_prediction"}')
    changed = found(known, "pipeline")
    assert changed.traits.prediction_type == "v_prediction"
    assert changed.version != spec.version


def test_files_that_were_just_written_are_read_anew_though_no_time_stamp_tells(
    known: ModelCatalogue, folder: Path
) -> None:
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text('{"prediction_type": "epsilon"}     ')
    before, times = found(known, "pipeline"), config.stat()
    config.write_text('{"prediction_type": "v_prediction"}')
    os.utime(config, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert found(known, "pipeline") == before, "a file that changed within one tick of the clock looks like this"
    assert asyncio.run(known.find("pipeline", changed=True)).traits.prediction_type == "v_prediction"


def test_the_folder_that_the_networks_of_the_demo_are_saved_to_is_a_model(
    known: ModelCatalogue, tmp_path: Path
) -> None:
    shutil.copytree(MODELS / "demo.config", tmp_path / "pipeline")
    original = load_torch(MODELS / "demo.safetensors")
    for component in WEIGHTS:
        tensors = component_weights(original, component, build_network(component, MODELS / "demo.config"))
        whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
        save_torch(whole, tmp_path / "pipeline" / component / "model.safetensors")
    assert reason(known) == ""


def test_a_replaced_file_of_weights_is_noticed(known: ModelCatalogue, folder: Path) -> None:
    before = found(known, "pipeline").version
    put_pipeline(folder.parent / "other" / "deeper")
    weights = "vae/diffusion_pytorch_model.safetensors"
    (folder.parent / "other" / "deeper" / weights).rename(folder / weights)
    assert found(known, "pipeline").version != before


def test_fp16_files_serve_where_there_are_no_others(known: ModelCatalogue, tmp_path: Path) -> None:
    put_pipeline(tmp_path / "pipeline", ".fp16")
    assert reason(known) == ""


def shard(component: Path, names: tuple[str, ...]) -> None:
    """Split a file of weights into shards with an index; shards elsewhere are named, and not written."""
    whole = component / "diffusion_pytorch_model.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    weight_map = {key: names[index % len(names)] for index, key in enumerate(tensors)}
    for name in names:
        if "/" not in name:
            save_file({key: tensors[key] for key in tensors if weight_map[key] == name}, component / name)
    (component / f"{whole.name}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_together_and_a_missing_one_is_named(known: ModelCatalogue, folder: Path) -> None:
    shard(folder / "unet", SHARDS)
    assert reason(known) == ""
    (folder / "unet" / SHARDS[1]).unlink()
    assert f"names {SHARDS[1]}, which is not there" in reason(known)


def test_an_index_that_points_elsewhere_is_refused(known: ModelCatalogue, folder: Path) -> None:
    shard(folder / "unet", ("../../secret.safetensors",))
    assert "must name safetensors files beside it" in reason(known)


def as_pickle(folder: Path) -> None:
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(file.with_suffix(".bin"))


def without_vae(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def without_weights(folder: Path) -> None:
    (folder / "text_encoder" / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    with (folder / "vae" / "diffusion_pytorch_model.safetensors").open("r+b") as file:
        file.truncate(200)


def of_other_sizes(folder: Path) -> None:
    sparse_file(folder / "vae" / "diffusion_pytorch_model.safetensors", {"encoder.conv_in.weight": (9, 3, 3, 3)})


def as_flux(folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')


def as_refiner(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    changed = {**index, "_class_name": "StableDiffusionXLImg2ImgPipeline", "text_encoder": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(changed))


def for_editing(folder: Path) -> None:
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "in_channels": 8}))


def without_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()


def with_broken_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("{")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (as_pickle, "its unet is there as a pickle alone"),
        (without_vae, "vae/config.json is missing"),
        (without_weights, "its text_encoder holds no safetensors weights"),
        (truncated, "vae/diffusion_pytorch_model.safetensors: it is truncated"),
        (of_other_sizes, "its VAE does not fit vae/config.json: encoder.conv_in.weight has shape [9, 3, 3, 3]"),
        (as_flux, "FluxPipeline"),
        (as_refiner, "refiner"),
        (for_editing, "8 channels"),
        (without_index, "no model_index.json"),
        (with_broken_index, "not as it should be"),
    ],
)
def test_a_broken_folder_stays_listed_with_the_reason(
    known: ModelCatalogue, folder: Path, spoil: Callable[[Path], None], expected: str
) -> None:
    assert reason(known) == ""
    spoil(folder)
    assert expected in reason(known)
