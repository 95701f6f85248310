"""Every sampler, setting by setting: one image of ours equals that of diffusers' own SDXL pipeline.

Both sides build their sampler with `build_sampler`, so that the class, the noise schedule and the repairs of its options
are the same; diffusers prepares and drives its own. Where ours is driven differently (`samplers.start`: the first step
is found by its place and not by its timestep, one timestep too many in trailing spacing is not made, DEIS does not repeat
its last noise level, LCM and TCD take more steps than they were distilled with), the numbers of steps and the spacings
below give the same path. tests/infra/test_samplers.py proves those repairs.

Clip skip is compared without guidance: diffusers does not apply it to the negative prompt, we do, as other user
interfaces do.
"""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.samplers import SAMPLERS
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.samplers import build_sampler
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.text import encode
from tests.infra.sdxl.test_render import MODELS, ignore, pixels, request, spec_of
from tests.render import render

SIDE_PX, SEED = 64, 7
STEPS = {"lms": 4, "dpmpp_3m": 6, "dpmpp_3m_sde": 6}
"""As many as it takes to reach a sampler's highest order; 3 for the others."""
TOLERANCE = 0.5
"""Mean difference of a channel, of 255. The rounding of our pixels to whole numbers makes 0.25 of it, and measured was 0.2528."""

SETTINGS: dict[str, dict[str, Any]] = {
    "guidance": {"guidance_scale": 5.0, "negative_prompt": "a green star"},
    "rescaled": {"guidance_scale": 7.5, "guidance_rescale": 0.7},
    "no guidance, clip skip": {"guidance_scale": 1.0, "clip_skip": 1},
}


_ETA = {"tcd": 0.3}
"""The pipeline forces 0 upon every sampler; TCD's own share of fresh noise is 0.3 (arXiv:2402.19159), which we use."""

spec_named = functools.cache(spec_of)


@functools.cache
def model_named(name: str) -> SdxlModel:
    return load_model(spec_named(name), MODELS / f"{name}.safetensors", Precision.of(torch.float32), ignore)


@functools.cache
def pipeline_named(name: str) -> Any:
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(MODELS / f"{name}.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def ours(model: SdxlModel, asked: GenerationRequest) -> np.ndarray[Any, Any]:
    """Height x width x 3, 0 to 255. The one place that knows how our images are made."""
    return pixels(render(model, asked, ignore).images[0]).astype(float)


def theirs(
    model: SdxlModel, asked: GenerationRequest, prompts: dict[str, torch.Tensor] | None = None
) -> np.ndarray[Any, Any]:
    pipeline = pipeline_named(asked.model)
    pipeline.scheduler = build_sampler(asked.sampler, model.sampler_config, model.traits, asked.timestep_spacing)
    sizes, negative_sizes = asked.size_conditioning, asked.negative_size_conditioning
    image = pipeline(
        **(prompts or {"prompt": asked.prompt, "negative_prompt": asked.negative_prompt or None}),
        num_inference_steps=asked.num_inference_steps,
        guidance_scale=asked.guidance_scale,
        guidance_rescale=asked.guidance_rescale,
        clip_skip=asked.clip_skip,
        eta=_ETA.get(asked.sampler.name, 0.0),
        width=asked.width,
        height=asked.height,
        original_size=sizes.original_size,
        crops_coords_top_left=sizes.crop,
        target_size=sizes.target_size,
        negative_original_size=negative_sizes.original_size,
        negative_crops_coords_top_left=negative_sizes.crop,
        negative_target_size=negative_sizes.target_size,
        generator=torch.Generator().manual_seed(asked.seeds[0]),
        output_type="np",
    ).images[0]
    return image * 255


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", ["demo", "demo-vpred"])
@pytest.mark.parametrize("sampler", [spec.name for spec in SAMPLERS])
def test_an_image_equals_that_of_diffusers_own_pipeline(sampler: str, name: str, setting: str) -> None:
    asked = request(
        spec_named(name),
        sampler=sampler,
        num_inference_steps=STEPS.get(sampler, 3),
        width=SIDE_PX,
        height=SIDE_PX,
        seed=SEED,
        **SETTINGS[setting],
    )
    model = model_named(name)
    difference = np.abs(ours(model, asked) - theirs(model, asked))
    assert difference.mean() < TOLERANCE, f"mean {difference.mean():.3f} of 255, largest {difference.max():.1f}"


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
@pytest.mark.parametrize(
    "sizes",
    [
        {"original_size": (512, 256), "crop": (8, 32), "target_size": (1024, 1024)},
        {"negative_original_size": (32, 32), "negative_crop": (64, 0), "negative_target_size": (256, 64)},
    ],
    ids=["positive", "negative"],
)
def test_so_does_one_with_other_sizes_to_tell_the_denoiser(sizes: dict[str, Any], guidance_scale: float) -> None:
    plain: dict[str, Any] = {
        "guidance_scale": guidance_scale,
        "num_inference_steps": 3,
        "width": SIDE_PX,
        "height": SIDE_PX,
        "seed": SEED,
    }
    model, asked = model_named("demo"), request(spec_named("demo"), **plain, **sizes)
    image = ours(model, asked)
    difference = np.abs(image - theirs(model, asked))
    assert difference.mean() < TOLERANCE, f"mean {difference.mean():.3f} of 255, largest {difference.max():.1f}"
    acts = asked.guided or "original_size" in sizes
    assert np.array_equal(image, ours(model, request(spec_named("demo"), **plain))) is not acts


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_so_does_one_of_a_long_weighted_prompt_once_it_is_encoded(guidance_scale: float) -> None:
    """Three chunks, of which diffusers is handed the embeddings: it encodes one chunk alone."""
    prompt, negative = "a red circle, " * 40 + "on a (blue:1.3) background", "a green star"
    asked = request(
        spec_named("demo"),
        prompt=prompt,
        negative_prompt=negative,
        guidance_scale=guidance_scale,
        num_inference_steps=3,
        width=SIDE_PX,
        height=SIDE_PX,
        seed=SEED,
    )
    model = model_named("demo")
    with torch.inference_mode():
        encoded = encode(model, asked).of_stretch(0)
    assert encoded.sequence.shape[1] == 3 * 77
    prompts = {"prompt_embeds": encoded.sequence[-1:], "pooled_prompt_embeds": encoded.pooled[-1:]}
    if asked.guided:
        prompts |= {"negative_prompt_embeds": encoded.sequence[:1], "negative_pooled_prompt_embeds": encoded.pooled[:1]}
    difference = np.abs(ours(model, asked) - theirs(model, asked, prompts))
    assert difference.mean() < TOLERANCE, f"mean {difference.mean():.3f} of 255, largest {difference.max():.1f}"
