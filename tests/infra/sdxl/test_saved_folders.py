"""Folders as today's diffusers and transformers write them, their variants, and two hundred ways to spoil one.

A folder that is usable is loaded and makes a picture; a picture equals that of diffusers; nothing is an unforeseen error.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from litestar_diffusion.domain.families.sdxl.widths import Widths
from tests.mutated_folders import (
    CONFIGS,
    NAME,
    Mutation,
    described,
    draw,
    mutated,
    ours,
    save_demo,
    theirs,
)

TOLERANCE = 0.5
"""Mean difference of a channel, of 255, of which rounding to whole numbers makes 0.25."""
STRICTER: dict[str, str] = {
    "retype": "values of another JSON type than diffusers' own are refused, whether Python takes them or not",
    "drop tensor": "diffusers draws random weights for those that are missing",
    "rename tensor": "diffusers draws random weights for those that are missing",
    "drop file": "diffusers makes an empty vocabulary of a tokenizer without files",
    "timestep_type": "diffusers takes any other word for `discrete`; another word means another sampler",
    "latents_mean": "diffusers ignores it without latents_std; half of a pair is a mistake",
    "latents_std": "diffusers ignores it without latents_mean; half of a pair is a mistake",
    "cross_attention_norm": "read by blocks that SDXL lacks; a model that states it was made with them",
    "_class_name": "the class is how a folder is recognised; diffusers is told it by the caller",
    "solver_type": "a word that diffusers does not know is a mistake",
    "sample_size": "sides of less than 64 or more than 4096 pixels",
    "num_train_timesteps": "every SDXL model was trained with 1000",
    "steps_offset": "more than 1 leads beyond the trained timesteps",
    "beta_schedule": "words that not every sampler knows",
    "block_out_channels": "sizes that fit only by chance",
    "padding_side": "prompts are padded on the right",
    "final_sigmas_type": "Euler ends at zero",
    "sigma_max": "bounds of the noise levels are not served; diffusers reads them with some schedules only",
    "num_hidden_layers": "without it diffusers draws random weights for the layers that its default adds",
    "class_embed_type": "a word that diffusers does not know is a mistake",
    "mid_block_only_cross_attention": "read by blocks that SDXL lacks; a model that states it was made with them",
    "pad_token": "an empty text is no token",
    "bos_token": "an empty text is no token",
    "unk_token": "a token that the vocabulary lacks gets a number that the text encoder has no row for",
}
"""Kinds of mutations, and keys, with which diffusers loads a folder that is refused here, and why."""
DIFFERENT = {
    "pad_token": "SDXL's own padding is assumed; diffusers assumes that of CLIP",
    "tokenizer.json": "a missing vocabulary is that of the other tokenizer; diffusers makes an empty one",
}
"""Keys and files without which the picture is another than that of diffusers, and why."""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_demo(tmp_path_factory.mktemp("saved") / NAME)


def picture_or_reason(folder: Path) -> Any:
    spec = described(folder)
    return spec.unusable or ours(spec, folder)


def difference(folder: Path) -> float:
    picture = picture_or_reason(folder)
    assert not isinstance(picture, str), picture
    return float(np.abs(picture - theirs(folder)).mean())


def test_a_folder_as_transformers_5_writes_it_makes_the_picture_of_diffusers(saved: Path) -> None:
    assert not (saved / "tokenizer" / "vocab.json").exists()
    assert difference(saved) < TOLERANCE


def test_a_vocabulary_that_the_text_encoder_lacks_is_told(saved: Path, tmp_path: Path) -> None:
    folder = mutated(saved, tmp_path / NAME, Mutation("drop file", "tokenizer/tokenizer.json"))
    assert "SDXL's own has 49408 tokens; vocab_size is 656" in picture_or_reason(folder)


def test_without_pad_token_the_older_map_counts_else_sdxls_own(saved: Path, tmp_path: Path) -> None:
    config = "tokenizer_2/tokenizer_config.json"
    folder = mutated(saved, tmp_path / NAME, Mutation("drop", config, "pad_token"))
    usual = picture_or_reason(folder)
    assert np.array_equal(usual, picture_or_reason(saved))
    (folder / "tokenizer_2" / "special_tokens_map.json").write_text('{"pad_token": "<|endoftext|>"}')
    assert not np.array_equal(picture_or_reason(folder), usual)
    assert difference(folder) < TOLERANCE


VARIANTS: dict[str, dict[str, Any]] = {
    "SSD-1B": {
        "transformer_layers_per_block": [1, [1, 1], [2, 1]],
        "reverse_transformer_layers_per_block": [[1, 2, 1], [1, 1, 1], 1],
        "layers_per_block": 2,
    },
    "Vega": {"mid_block_type": None},
    "KOALA": {"mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, 2, 3]},
    "other arithmetic": {
        "act_fn": "gelu",
        "freq_shift": 1,
        "mid_block_scale_factor": 1.5,
        "use_linear_projection": False,
        "center_input_sample": True,
        "downsample_padding": 0,
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_of_sdxl_makes_the_picture_of_diffusers(saved: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / NAME
    shutil.copytree(saved, folder, copy_function=os.link)
    config = {**json.loads((folder / "unet" / "config.json").read_text()), **VARIANTS[name]}
    shutil.rmtree(folder / "unet")
    torch.manual_seed(3)
    unet: Any = UNet2DConditionModel.from_config(config)
    unet.save_pretrained(folder / "unet")
    attending = [layer.attn2.to_k.out_features for layer in unet.modules() if hasattr(layer, "attn2")]
    networks = described(folder).networks
    assert isinstance(networks, Widths)
    assert networks.prompt == sum(attending)
    assert difference(folder) < TOLERANCE


def test_the_scale_of_each_latent_channel_is_applied(saved: Path, tmp_path: Path) -> None:
    folder = mutated(saved, tmp_path / NAME, Mutation("change", "vae/config.json", "latents_mean", [0.1, -0.2, 0.3, 0]))
    config = folder / "vae" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "latents_std": [0.9, 1.1, 1.2, 0.8]}))
    assert difference(folder) < TOLERANCE


SCHEDULERS: list[dict[str, Any]] = [
    {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True},
    {"_class_name": "DPMSolverSinglestepScheduler"},
    {"_class_name": "DDIMScheduler", "set_alpha_to_one": False, "clip_sample": False},
    {"_class_name": "UniPCMultistepScheduler", "solver_order": 3},
    {"_class_name": "HeunDiscreteScheduler", "timestep_spacing": "linspace"},
]


@pytest.mark.parametrize("config", SCHEDULERS, ids=lambda config: config["_class_name"])
def test_the_sampler_of_a_folder_makes_the_picture_of_diffusers(
    saved: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    name = config["_class_name"]
    folder = mutated(saved, tmp_path / NAME, Mutation("change", "model_index.json", "scheduler", ["diffusers", name]))
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    (folder / "scheduler" / "scheduler_config.json").unlink()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps({**noise, **config}))
    assert difference(folder) < TOLERANCE


@pytest.mark.parametrize("seed", range(40))
def test_a_usable_folder_makes_a_picture_however_it_was_changed(saved: Path, tmp_path: Path, seed: int) -> None:
    mutation = draw(saved, seed)
    picture = picture_or_reason(mutated(saved, tmp_path / NAME, mutation))
    assert picture if isinstance(picture, str) else picture.shape == (64, 64, 3), mutation


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_what_diffusers_loads_is_served_with_the_same_picture(saved: Path, tmp_path: Path, seed: int) -> None:
    mutation = draw(saved, seed)
    folder = mutated(saved, tmp_path / NAME, mutation)
    picture = picture_or_reason(folder)
    try:
        expected = theirs(folder)
    except Exception:  # whatever diffusers raises: it makes no picture
        return
    if isinstance(picture, str):
        assert {mutation.kind, mutation.key} & set(STRICTER), f"{mutation}: {picture}"
    elif not {mutation.key, Path(mutation.file).name} & set(DIFFERENT):
        assert np.abs(picture - expected).mean() < TOLERANCE, mutation


def test_the_mutations_reach_every_config(saved: Path) -> None:
    assert {draw(saved, seed).file for seed in range(200)} >= set(CONFIGS)
