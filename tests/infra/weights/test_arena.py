"""Weights in arenas: bit for bit what diffusers loads, shared by content, freed when the last model lets go."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from litestar_diffusion.domain.errors import UnusableModel
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.domain.models.spec import Checkpoint, Folder, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model, weight_summary
from litestar_diffusion.infra.weights.component_store import ComponentStore
from tests.pipelines import put_demo_pipeline

MODELS = Path(__file__).parents[3] / "models"
NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")


def spec_of(path: Path, version: str = "1") -> ModelSpec:
    source = Folder(path=path) if path.is_dir() else Checkpoint(path=path, config=MODELS / "demo.config")
    return ModelSpec(name=ModelName(path.stem), source=source, traits=ModelTraits(size_px=128), version=version)


def load(
    path: Path,
    store: ComponentStore | None = None,
    dtype: torch.dtype = torch.float32,
    version: str = "1",
) -> SdxlModel:
    return load_model(
        spec_of(path, version),
        path,
        Precision.of(dtype),
        lambda _: None,
        Loading(store=store or ComponentStore()),
    )


def weights(model: SdxlModel) -> Iterator[tuple[str, torch.Tensor]]:
    for name in NETWORKS:
        for key, tensor in getattr(model, name).state_dict().items():
            yield f"{name}.{key.removeprefix('text_model.')}", tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put_demo_pipeline(tmp_path_factory.mktemp("pipelines") / "demo")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("source", ["file", "folder"])
def test_the_weights_are_those_that_diffusers_loads(dtype: torch.dtype, source: str, folder: Path) -> None:
    path = MODELS / "demo.safetensors" if source == "file" else folder
    theirs: Any = StableDiffusionXLPipeline.from_single_file(
        MODELS / "demo.safetensors",
        config=str(MODELS / "demo.config"),
        local_files_only=True,
        torch_dtype=dtype,
        add_watermarker=False,
    )
    ours = load(path, dtype=dtype)
    compared = 0
    for name in NETWORKS:
        expected = {
            key.removeprefix("text_model."): tensor for key, tensor in getattr(theirs, name).state_dict().items()
        }
        for key, tensor in getattr(ours, name).state_dict().items():
            assert torch.equal(tensor, expected[key.removeprefix("text_model.")].to(dtype)), (name, key)
            compared += 1
    assert compared > 300


def test_every_weight_is_a_view_of_its_components_arena_and_convolutions_are_channels_last() -> None:
    store = ComponentStore()
    model = load(MODELS / "demo.safetensors", store)
    for network in store.named([component.id for component in model.components]):
        begin = network.arena.buffer.data_ptr()
        for parameter in network.module.parameters():
            assert begin <= parameter.data_ptr() <= begin + network.arena.nbytes - parameter.nbytes
            assert parameter.ndim != 4 or parameter.is_contiguous(memory_format=torch.channels_last)
        assert network.arena.nbytes == network.facts.nbytes
        assert begin % 4096 == 0


def test_the_size_is_known_from_the_header() -> None:
    path = MODELS / "demo.safetensors"
    model = load(path)
    exact = sum(component.nbytes for component in model.components)
    told = weight_summary(spec_of(path), path)
    assert told.dtype == "F16"
    assert Precision(torch.float32, torch.float32).nbytes(told) == pytest.approx(exact, rel=0.01)


@pytest.fixture
def sibling(tmp_path: Path) -> Path:
    """The demo model with another UNet, and nothing else changed."""
    tensors = load_file(MODELS / "demo.safetensors")
    changed = {
        key: -tensor if key == "model.diffusion_model.out.2.weight" else tensor for key, tensor in tensors.items()
    }
    save_file(changed, tmp_path / "sibling.safetensors")
    return tmp_path / "sibling.safetensors"


def test_models_that_differ_in_the_unet_alone_share_the_rest(sibling: Path) -> None:
    store = ComponentStore()
    one, two = load(MODELS / "demo.safetensors", store), load(sibling, store)
    same = [a.id == b.id for a, b in zip(one.components, two.components, strict=True)]
    assert same == [False, True, True, True]
    assert one.vae is two.vae
    before = {name: tensor.clone() for name, tensor in weights(two)}
    store.release(one.components, reuse=False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(two))
    assert all(parameter.is_meta for parameter in one.unet.parameters())


def test_tensors_that_no_network_wants_take_no_memory(tmp_path: Path) -> None:
    """The header's word is what a buffer is had by; the network knows better."""
    tensors = load_file(MODELS / "demo.safetensors")
    tensors["first_stage_model.loss.weight"] = torch.zeros(1 << 20)
    save_file(tensors, tmp_path / "more.safetensors")
    store = ComponentStore()
    plain, more = load(MODELS / "demo.safetensors", store), load(tmp_path / "more.safetensors", store)
    assert more.components == plain.components


def test_what_lies_between_tensors_does_not_tell_contents_apart() -> None:
    """Buffers that are used again hold what was there before."""
    store = ComponentStore()
    one = load(MODELS / "demo.safetensors", store)
    (vae,) = store.named([part.id for part in one.components if part.name == "vae"])
    taken = {index for slot in vae.layout.slots.values() for index in range(slot.begin, slot.begin + slot.nbytes)}
    between = sorted(set(range(vae.layout.nbytes)) - taken)
    assert between, "the demo model has vectors that do not fill a cache line"
    vae.arena.buffer[between] = 255
    again = load(MODELS / "demo.safetensors", store, version="2")
    assert again.components == one.components


def test_a_file_that_comes_back_has_the_ids_that_it_had(sibling: Path) -> None:
    """What the pool knows of it is still true; another file's are its own."""
    store = ComponentStore()
    one = load(MODELS / "demo.safetensors", store)
    store.release(one.components, reuse=False)
    other = load(sibling, store)
    again = load(MODELS / "demo.safetensors", store)
    assert again.components[0] == one.components[0]
    assert other.components[0] not in one.components
    assert again.components[1:] == other.components[1:], "shared, under the ids that are in memory"


def test_what_is_in_memory_is_not_read_again() -> None:
    store = ComponentStore()
    first = load(MODELS / "demo.safetensors", store)
    second = load(MODELS / "demo.safetensors", store)
    assert second.unet is first.unet
    store.release(first.components, reuse=False)
    assert not any(parameter.is_meta for parameter in second.unet.parameters())


def test_other_dtypes_are_other_components() -> None:
    store = ComponentStore()
    one, two = (load(MODELS / "demo.safetensors", store, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert not {component.id for component in one.components} & {component.id for component in two.components}


def test_nothing_is_alive_after_the_last_model_lets_go() -> None:
    store = ComponentStore()
    model = load(MODELS / "demo.safetensors", store)
    arenas = [weakref.ref(network.arena) for network in store.named([one.id for one in model.components])]
    store.release(model.components, reuse=False)
    gc.collect()
    assert [arena() for arena in arenas] == [None] * 4


def test_spare_buffers_are_used_again_and_given_back_after_the_load() -> None:
    store = ComponentStore()
    model = load(MODELS / "demo.safetensors", store)
    networks = store.named([one.id for one in model.components])
    addresses = {network.arena.buffer.data_ptr() for network in networks}
    del networks
    store.release(model.components, reuse=True)
    again = load(MODELS / "demo.safetensors", store, version="2")
    networks = store.named([one.id for one in again.components])
    assert {network.arena.buffer.data_ptr() for network in networks} == addresses


def test_progress_counts_every_byte() -> None:
    told: list[LoadProgress] = []
    path = MODELS / "demo.safetensors"
    model = load_model(spec_of(path), path, Precision.of(torch.float32), told.append)
    assert told[-1].done_nbytes == pytest.approx(sum(component.nbytes for component in model.components), rel=0.01)
    assert [one.done_nbytes for one in told] == sorted(one.done_nbytes for one in told)


def test_a_file_that_lacks_a_tensor_leaves_nothing_behind(tmp_path: Path) -> None:
    tensors = load_file(MODELS / "demo.safetensors")
    del tensors["first_stage_model.decoder.conv_out.weight"]
    save_file(tensors, tmp_path / "broken.safetensors")
    store = ComponentStore()
    with pytest.raises(UnusableModel, match=r"decoder\.conv_out\.weight is missing"):
        load(tmp_path / "broken.safetensors", store)
    whole = load(MODELS / "demo.safetensors", store)
    store.release(whole.components, reuse=False)
    assert store.named([component.id for component in whole.components]) == []
