"""Single files in every key layout that public converters write load to the same weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS, PREFIXES
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.sdxl.loading.components import build_network
from litestar_diffusion.infra.sdxl.loading.key_conversion import component_weights
from tests.render import render

from .checkpoints import CONFIG, Tensors, demo_tensors, described, loaded, save

TEXT_1 = "conditioner.embedders.0.transformer."
TEXT_2 = "conditioner.embedders.1.model."


def renamed(tensors: Tensors, old: str, new: str) -> Tensors:
    return {name.replace(old, new): tensor for name, tensor in tensors.items()}


def in_diffusers_names(tensors: Tensors, component: str, prefix: str) -> Tensors:
    """Give one component the names that it has in a diffusers folder, behind a prefix."""
    name = next(name for name in COMPONENTS if name == component)
    weights = component_weights(tensors, name, build_network(name, CONFIG))
    kept = {key: tensor for key, tensor in tensors.items() if not key.startswith(PREFIXES[name])}
    return kept | {f"{prefix}{key}": tensor for key, tensor in weights.items()}


def projection_as_a_layer(tensors: Tensors) -> Tensors:
    """As ComfyUI reads it, and as diffusers' script wrote it at first."""
    kept = dict(tensors)
    kept[f"{TEXT_2}text_projection.weight"] = kept.pop(f"{TEXT_2}text_projection").T
    return kept


def old_vae_names(tensors: Tensors) -> Tensors:
    for new, old in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        tensors = renamed(tensors, f"attentions.0.{new}.", f"attentions.0.{old}.")
    return tensors


def half_converted_vae(tensors: Tensors) -> Tensors:
    """As diffusers' script wrote attentions when diffusers had renamed them, and the script had not."""
    for original, name in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
        tensors = renamed(tensors, f"mid.attn_1.{original}.", f"mid.attn_1.{name}.")
    return tensors


def matrices(tensors: Tensors) -> Tensors:
    return {
        name: tensor[:, :, 0, 0] if "attn_1" in name and tensor.ndim == 4 else tensor
        for name, tensor in tensors.items()
    }


def whole_pipeline(tensors: Tensors) -> Tensors:
    for component in COMPONENTS:
        tensors = in_diffusers_names(tensors, component, f"{component}.")
    return tensors


def with_extras(tensors: Tensors) -> Tensors:
    return tensors | {
        f"{TEXT_2}logit_scale": torch.tensor(4.6),
        f"{TEXT_1}text_model.embeddings.position_ids": torch.arange(77)[None],
        "model.diffusion_model.input_blocks.99.0.weight": torch.zeros(1),
        "first_stage_model.loss.logvar": torch.zeros(1),
        "model_ema.decay": torch.tensor(0.9),
        "alphas_cumprod": torch.zeros(1000),
        "odd": torch.zeros(3, dtype=torch.uint16),
        f"{TEXT_2}odd": torch.zeros(3, dtype=torch.uint16),
    }


LAYOUTS: dict[str, Callable[[Tensors], Tensors]] = {
    "transposed projection": projection_as_a_layer,
    "first encoder of transformers 5": lambda tensors: renamed(tensors, f"{TEXT_1}text_model.", TEXT_1),
    "second encoder of transformers, in transformer": lambda tensors: in_diffusers_names(
        tensors, "text_encoder_2", f"{TEXT_2}transformer."
    ),
    "second encoder of transformers": lambda tensors: in_diffusers_names(tensors, "text_encoder_2", TEXT_2),
    "second encoder like the first": lambda tensors: in_diffusers_names(
        tensors, "text_encoder_2", "conditioner.embedders.1.transformer."
    ),
    "UNet of diffusers": lambda tensors: in_diffusers_names(tensors, "unet", "model.diffusion_model."),
    "VAE of diffusers": lambda tensors: in_diffusers_names(tensors, "vae", "first_stage_model."),
    "VAE of old diffusers": lambda tensors: old_vae_names(in_diffusers_names(tensors, "vae", "first_stage_model.")),
    "VAE half converted": half_converted_vae,
    "VAE with matrices": matrices,
    "VAE under vae": lambda tensors: renamed(tensors, "first_stage_model.", "vae."),
    "pipeline in one file": whole_pipeline,
    "extras": with_extras,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_to_the_same_weights(layout: str, tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", LAYOUTS[layout](demo_tensors()))
    spec = described(path)
    assert spec.unusable is None
    model, usual = loaded(spec, path), loaded(spec, save(tmp_path / "demo.safetensors", demo_tensors()))
    for component in COMPONENTS:
        wanted = getattr(usual, component).state_dict()
        for name, weight in getattr(model, component).state_dict().items():
            assert torch.equal(weight, wanted[name]), f"{component} {name}"


@pytest.mark.parametrize("dtype", [torch.uint16, torch.int8])
def test_weights_that_are_whole_numbers_are_refused_before_a_load(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = demo_tensors()
    key = "model.diffusion_model.input_blocks.1.0.in_layers.2.weight"
    tensors[key] = torch.zeros_like(tensors[key], dtype=dtype)
    reason = described(save(tmp_path / "model.safetensors", tensors)).unusable
    assert reason is not None
    assert f"{key} has dtype" in reason
    assert "Use its fp16 version" in reason


def test_a_vae_without_encoder_makes_pictures_from_text(tmp_path: Path) -> None:
    encoder = ("first_stage_model.encoder.", "first_stage_model.quant_conv.")
    tensors = {name: tensor for name, tensor in demo_tensors().items() if not name.startswith(encoder)}
    path = save(tmp_path / "model.safetensors", tensors)
    spec = described(path)
    assert spec.unusable is None
    assert loaded(spec, path).vae.encoder is None


def test_half_an_encoder_is_a_damaged_file(tmp_path: Path) -> None:
    tensors = demo_tensors()
    del tensors["first_stage_model.encoder.conv_in.weight"]
    reason = described(save(tmp_path / "model.safetensors", tensors)).unusable
    assert reason is not None
    assert "first_stage_model.encoder.conv_in.weight is missing" in reason


def test_a_vae_of_zeros_makes_pictures_of_one_colour_with_a_warning(tmp_path: Path) -> None:
    tensors = demo_tensors()
    zeros = {
        name: torch.zeros_like(tensor) for name, tensor in tensors.items() if name.startswith("first_stage_model.")
    }
    path = save(tmp_path / "model.safetensors", tensors | zeros)
    spec = described(path)
    said = GenerationParameters(prompt="a red circle", seed=3, num_inference_steps=1)
    asked = resolve(said, spec, Limits(), random_seed=0).request
    [warning] = render(loaded(spec, path), asked, lambda *_: None).warnings
    assert "in one colour" in warning


def test_a_doubt_about_a_model_is_a_warning_of_every_answer(tmp_path: Path) -> None:
    path = save(tmp_path / "demo_vPred.safetensors", demo_tensors())
    [warning] = resolve(GenerationParameters(prompt="x"), described(path), Limits(), random_seed=0).warnings
    assert "sounds like v-prediction" in warning
    path.with_suffix(".toml").write_text('prediction_type = "epsilon"\n')
    assert resolve(GenerationParameters(prompt="x"), described(path), Limits(), random_seed=0).warnings == ()
