"""With a named schedule a picture is that of k-diffusion's loops, and so of the programs that are built on them."""

import functools
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litestar_diffusion.domain.requests.samplers import SigmaSchedule
from tests.infra.diffusion.test_sigma_schedules import TRAINED, published
from tests.infra.sdxl.k_diffusion import LOOPS, noise_of
from tests.infra.sdxl.test_parity import model_named, ours, pipeline_named, spec_named
from tests.infra.sdxl.test_render import request

SIDE_PX, STEPS, SEED, GUIDANCE = 64, 9, 5, 6.0
LEAST_DB = 55.0
PROMPT, NEGATIVE = "a red circle on a blue background", "a green star"

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


@pytest.mark.parametrize("schedule", ["normal", "karras", "align_your_steps"])
@pytest.mark.parametrize("sampler", LOOPS)
def test_a_picture_is_that_of_the_published_loop(sampler: str, schedule: SigmaSchedule) -> None:
    asked = request(
        spec_named("demo"),
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        sampler=sampler,
        schedule=schedule,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        width=SIDE_PX,
        height=SIDE_PX,
        seed=SEED,
    )
    error = np.mean((ours(model_named("demo"), asked) - _theirs(sampler, schedule)) ** 2)
    psnr = 10 * math.log10(255**2 / error)
    assert psnr >= LEAST_DB, f"{psnr:.1f} dB"


@torch.inference_mode()
def _theirs(sampler: str, schedule: SigmaSchedule) -> np.ndarray[Any, Any]:
    """Height x width x 3, 0 to 255."""
    pipeline = pipeline_named("demo")
    generator, shape = torch.Generator().manual_seed(SEED), (1, 4, SIDE_PX // 8, SIDE_PX // 8)
    noise = noise_of(generator, shape)
    sigmas = [*published(schedule, STEPS), 0.0]
    x = LOOPS[sampler](denoised, noise() * math.sqrt(sigmas[0] ** 2 + 1), sigmas, noise)
    image = pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample
    return np.asarray((image[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255)


def denoised(x: Tensor, sigma: float) -> Tensor:
    """Clean latents by guidance, from a network that predicts the noise at a timestep between two whole ones."""
    timestep = float(np.interp(math.log(sigma), np.log(TRAINED), np.arange(1000)))
    embeds, pooled = _prompts()
    predicted = pipeline_named("demo").unet(
        (x / math.sqrt(sigma**2 + 1)).expand(2, -1, -1, -1),
        torch.tensor([timestep, timestep]),
        encoder_hidden_states=embeds,
        added_cond_kwargs={
            "text_embeds": pooled,
            "time_ids": torch.tensor([[SIDE_PX, SIDE_PX, 0, 0] + [SIDE_PX] * 2] * 2),
        },
    )[0]
    negative, positive = predicted.chunk(2)
    return x - sigma * (negative + GUIDANCE * (positive - negative))


@functools.cache
def _prompts() -> tuple[Tensor, Tensor]:
    positive, negative, pooled, negative_pooled = pipeline_named("demo").encode_prompt(
        PROMPT, negative_prompt=NEGATIVE, do_classifier_free_guidance=True
    )
    return torch.cat([negative, positive]), torch.cat([negative_pooled, pooled])
