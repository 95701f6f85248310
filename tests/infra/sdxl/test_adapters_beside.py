"""Adapters in requests: they act on their own rows, leave no trace, and fit the model or are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.models.adapters import AdapterUse
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.diffusion.side_paths.low_rank import LowRankLinear
from litestar_diffusion.infra.diffusion.side_paths.side_path import side_path_of
from litestar_diffusion.infra.sdxl.adapters.adapters import SdxlAdapter
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from tests.adapters import ATTENTION, CONVOLUTIONS, LINEAR, kohya, layers_of, loaded, put, tensors_of, use_of
from tests.infra.sdxl.test_parity import model_named, spec_named
from tests.infra.sdxl.test_render import MODELS, ignore, pixels, request

STEPS = 3
BATCH_TOLERANCE = 1.0
"""Mean difference of a channel, of 255, between an image of a batch and the same alone."""


@pytest.fixture
def model() -> SdxlModel:
    return model_named("demo")


@pytest.fixture
def file(model: SdxlModel, tmp_path: Path) -> Any:
    def make(name: str, ends: tuple[str, ...] = LINEAR, components: Any = ("unet",), **options: Any) -> Path:
        tensors = tensors_of(layers_of(model, ends, components), kohya, alpha=2.0, **options)
        return put(tmp_path / f"{name}.safetensors", tensors)

    return make


def asked(*uses: AdapterUse, **parameters: Any) -> GenerationRequest:
    plain = request(spec_named("demo"), num_inference_steps=STEPS, width=64, height=64, **parameters)
    return replace(plain, assets=replace(plain.assets, adapters=uses))


def begun(model: SdxlModel, *paths: Path, weight: float = 1.0, **parameters: Any) -> SdxlRun:
    adapters = [loaded(path) for path in paths]
    return SdxlRun(model, asked(*(use_of(path, weight) for path in paths), **parameters), adapters=adapters)


def images(*runs: SdxlRun) -> list[np.ndarray[Any, Any]]:
    """The first image of each run; all of them share their steps."""
    forward = SdxlBatchedForward()
    while not all(run.finished for run in runs):
        assert not forward.step([run for run in runs if not run.finished])
        for run in runs:
            while run.decoding:
                run.decode_next()
    return [pixels(run.images[0]).astype(float) for run in runs]


def side_paths_of(model: SdxlModel) -> list[str]:
    networks = (model.unet, model.text_encoder, model.text_encoder_2)
    return [name for network in networks for name, layer in network.named_modules() if side_path_of(layer)]


def test_after_adapters_the_model_s_images_are_those_of_before(model: SdxlModel, file: Any) -> None:
    before = images(begun(model))[0]
    everywhere = file("everywhere", (*LINEAR, *CONVOLUTIONS), ("unet", "text_encoder", "text_encoder_2"))
    changed = images(begun(model, everywhere))[0]
    assert np.abs(changed - before).mean() > 5
    assert np.array_equal(images(begun(model))[0], before)


def test_an_adapter_of_weight_0_changes_nothing(model: SdxlModel, file: Any) -> None:
    path = file("style", components=("unet", "text_encoder"))
    assert np.array_equal(images(begun(model, path, weight=0.0))[0], images(begun(model))[0])


def test_rows_of_one_batch_have_different_adapters(model: SdxlModel, file: Any) -> None:
    """Two with different ones, two with the same in two requests, one without any: each is what it is alone."""
    one, two = file("one", seed=1), file("two", (*ATTENTION, *CONVOLUTIONS), seed=2)
    sets: list[tuple[Path, ...]] = [(one,), (), (two,), (one,), (one, two)]
    alone = [images(begun(model, *paths))[0] for paths in sets]
    together = images(*(begun(model, *paths) for paths in sets))
    for single, shared in zip(alone, together, strict=True):
        assert np.abs(single - shared).mean() < BATCH_TOLERANCE
    assert np.abs(alone[0] - alone[2]).mean() > 5


def test_the_order_of_adapters_changes_no_picture(model: SdxlModel, file: Any) -> None:
    one, two = file("one", seed=1), file("two", seed=2)
    difference = np.abs(images(begun(model, one, two))[0] - images(begun(model, two, one))[0])
    assert difference.mean() < BATCH_TOLERANCE


def test_a_failure_inside_of_a_side_path_leaves_none_behind(
    model: SdxlModel, file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = images(begun(model))[0]
    run = begun(model, file("style"))
    calls = 0

    def fails(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(LowRankLinear, "add", fails)
    with pytest.raises(Exception, match="denoise"):
        SdxlBatchedForward().step([run])
    assert calls == 20
    assert side_paths_of(model) == []
    assert np.array_equal(images(begun(model))[0], before)


def test_text_weight_acts_on_the_text_encoders_alone_and_is_part_of_the_cache_s_key(
    model: SdxlModel, file: Any
) -> None:
    path = file("style", components=("unet", "text_encoder_2"))

    def conditioning(weight: float, text_weight: float) -> torch.Tensor:
        run = SdxlRun(model, asked(use_of(path, weight, text_weight)), adapters=[loaded(path)])
        return run._conditioning.of_stretch(0).sequence

    plain = begun(model)._conditioning.of_stretch(0).sequence
    assert torch.equal(conditioning(1.0, 0.0), plain)
    assert not torch.equal(conditioning(0.0, 1.0), plain)
    assert not torch.equal(conditioning(0.0, 0.5), conditioning(0.0, 1.0))
    assert torch.equal(conditioning(0.3, 0.5), conditioning(0.0, 0.5))
    assert torch.equal(begun(model)._conditioning.of_stretch(0).sequence, plain)
    assert torch.equal(conditioning(0.0, 1.0)[..., :64], plain[..., :64])  # the first encoder is not touched


def test_layers_that_the_model_lacks_are_left_out_with_a_warning(model: SdxlModel, file: Any, tmp_path: Path) -> None:
    plain = file("style")
    tensors = tensors_of(layers_of(model, LINEAR, ["unet"]), kohya, alpha=2.0)
    for role, shape in {"down": (4, 160), "up": (64, 4)}.items():
        tensors[kohya("unet", "down_blocks.1.attentions.1.transformer_blocks.0.attn2.to_k", role)] = torch.ones(shape)
    more = begun(model, put(tmp_path / "more.safetensors", tensors))
    assert len(more.warnings) == 1
    assert "this model lacks 1 of the 85 layers" in more.warnings[0]
    assert np.array_equal(images(more)[0], images(begun(model, plain))[0])


def test_an_adapter_for_other_sizes_is_refused(model: SdxlModel, tmp_path: Path) -> None:
    path = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    tensors = {kohya("unet", path, "down"): torch.ones(4, 2048), kohya("unet", path, "up"): torch.ones(640, 4)}
    with pytest.raises(InvalidRequest, match=r"shape \[64, 160\], the adapter changes one of shape \[640, 2048\]"):
        begun(model, put(tmp_path / "large.safetensors", tensors))


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16])
def test_adapters_act_on_weights_that_are_upcast_as_they_are_used(
    kept: torch.dtype, model: SdxlModel, file: Any
) -> None:
    path = file("style", (*LINEAR, *CONVOLUTIONS), ("unet", "text_encoder", "text_encoder_2"))
    upcast = load_model(spec_named("demo"), MODELS / "demo.safetensors", Precision(kept, torch.float32), ignore)
    difference = np.abs(images(begun(upcast, path))[0] - images(begun(model, path))[0])
    assert difference.mean() < (0.5 if kept == torch.float16 else 8)


def test_a_model_in_16_bits_takes_factors_of_another_dtype(file: Any) -> None:
    model = load_model(spec_named("demo"), MODELS / "demo.safetensors", Precision.of(torch.bfloat16), ignore)
    path = file("style", (*LINEAR, *CONVOLUTIONS), ("unet", "text_encoder"))
    assert np.abs(images(begun(model, path))[0] - images(begun(model))[0]).mean() > 5


def test_an_adapter_is_one_component_and_equal_files_are_one_in_memory(file: Any, tmp_path: Path) -> None:
    loading = Loading()
    first = file("first")
    second = tmp_path / "second.safetensors"
    second.write_bytes(first.read_bytes())
    adapters: list[SdxlAdapter] = [loaded(path, loading) for path in (first, second, first)]
    assert len({adapter.components for adapter in adapters}) == 1
    (component,) = adapters[0].components
    assert (component.name, component.dtype) == ("adapter", "float32")
    assert len(loading.store.named([component.id])) == 1
    for adapter in adapters:
        loading.store.release(adapter.components, reuse=False)
    assert loading.store.named([component.id]) == []


def test_offloading_and_placing_an_adapter_moves_its_factors(file: Any) -> None:
    adapter = loaded(file("style"))
    layer = adapter.layers[0]
    before = adapter.factors(layer)["down"].clone()
    adapter.network.point_to(adapter.network.arena.buffer.clone())
    assert torch.equal(adapter.factors(layer)["down"], before)


def test_a_request_that_gives_way_lets_go_of_its_adapters_and_goes_on_with_their_new_copy(
    model: SdxlModel, file: Any
) -> None:
    """A device copy that was dropped must not stay alive, and the picture is the same to the last bit."""
    path = file("style", components=("unet", "text_encoder"))
    whole = images(begun(model, path))[0]
    adapter = loaded(path)
    run = SdxlRun(model, asked(use_of(path)), adapters=[adapter])
    forward = SdxlBatchedForward()
    forward.step([run])
    copy = adapter.network.arena.buffer.clone()
    adapter.network.point_to(copy)
    run.park()
    forward.forget()
    assert len(model.adapted) == 0
    run.resume(model, [adapter], None)
    factors = adapter.factors(adapter.layers[0])["down"]
    assert factors.untyped_storage().data_ptr() == copy.untyped_storage().data_ptr()
    assert np.array_equal(images(run)[0], whole)
