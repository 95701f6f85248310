"""Weights in 16 bits that are computed with in float32: half of the memory, and the same picture to the last bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.fast_layers.upcasting import COMPUTED, Upcaster
from litestar_diffusion.infra.sdxl.latents.decode import decode
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model, weight_summary
from tests.render import render

MODELS = Path(__file__).parents[4] / "models"
LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding)


def spec_of(path: Path) -> ModelSpec:
    source = Checkpoint(path=path, config=MODELS / "demo.config")
    return ModelSpec(name=ModelName(path.stem), source=source, traits=ModelTraits(size_px=128), version="1")


def load(path: Path, kept: torch.dtype) -> SdxlModel:
    """A model that computes in float32, with its weights kept in any dtype."""
    return load_model(spec_of(path), path, Precision(kept, COMPUTED), lambda _: None)


@pytest.mark.parametrize("kept", [torch.float16, torch.bfloat16])
def test_the_picture_is_that_of_float32_to_the_last_bit(kept: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    save_file({name: tensor.to(kept) for name, tensor in load_file(MODELS / "demo.safetensors").items()}, path)
    narrow, wide = load(path, kept), load(path, torch.float32)
    said = GenerationParameters(prompt="a red circle", negative_prompt="a blue square", seed=3, num_inference_steps=3)
    asked = resolve(said, spec_of(path), Limits(), random_seed=0).request
    of_narrow, of_wide = (render(model, asked, lambda *_: None).images for model in (narrow, wide))
    assert of_narrow == of_wide


def test_all_weights_but_vectors_are_kept_narrow_and_the_bytes_are_known_before() -> None:
    path = MODELS / "demo.safetensors"
    narrow, wide = load(path, torch.float16), load(path, torch.float32)
    for name in COMPONENTS:
        for layer in getattr(narrow, name).modules():
            for tensor, weight in layer.named_parameters(recurse=False):
                kept = torch.float16 if isinstance(layer, LAYERS) and tensor == "weight" else COMPUTED
                assert weight.dtype == kept, f"{name} {type(layer).__name__}.{tensor}"
    nbytes = [sum(part.nbytes for part in model.components) for model in (narrow, wide)]
    assert nbytes[0] == pytest.approx(nbytes[1] / 2, rel=0.02)
    assert Precision(torch.float16, COMPUTED).nbytes(weight_summary(spec_of(path), path)) == pytest.approx(
        nbytes[0], rel=0.01
    )


def test_one_buffer_serves_all_layers_and_keeps_their_strides() -> None:
    upcaster = Upcaster()
    large = torch.randn(64, 32, 3, 3).to(torch.float16).to(memory_format=torch.channels_last)
    small = torch.randn(7, 5).to(torch.bfloat16)
    first = upcaster(large)
    assert torch.equal(first, large.float())
    assert first.is_contiguous(memory_format=torch.channels_last)
    again = upcaster(small)
    assert torch.equal(again, small.float())
    assert again.data_ptr() == first.data_ptr()


def test_a_float32_weight_is_not_copied() -> None:
    weight = torch.randn(3, 4)
    assert Upcaster()(weight) is weight


def test_a_decoder_that_overflows_is_still_tried_again_in_float32() -> None:
    """`functional_call` hands float32 weights to layers that would convert them."""
    model = load(MODELS / "demo.safetensors", torch.float16)
    latents = torch.full((1, 4, 16, 16), 1.0)
    picture, warning = decode(model, latents)
    model.dtype = torch.float16  # as on a GPU
    model.vae.register_to_config(force_upcast=True)
    assert decode(model, latents)[0] == picture
    assert warning is None
