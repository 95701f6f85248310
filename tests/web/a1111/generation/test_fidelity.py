"""Pictures of this dialect are those of the web UI: k-diffusion's loops over the web UI's noise levels.

The reference begins as the web UI does, with noise times the largest level.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch

from litestar_diffusion.domain.requests.parameters import Limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.domain.requests.samplers import SigmaSchedule
from litestar_diffusion.web.a1111.generation.translation import translated
from litestar_diffusion.web.a1111.generation.txt2img_wire import Txt2ImgRequest
from litestar_diffusion.web.a1111.options import Options
from tests.infra.diffusion.test_sigma_schedules import published
from tests.infra.sdxl.k_diffusion import LOOPS, noise_of
from tests.infra.sdxl.test_k_diffusion import GUIDANCE, NEGATIVE, PROMPT, SEED, SIDE_PX, STEPS, denoised
from tests.infra.sdxl.test_parity import model_named, ours, pipeline_named, spec_named

LEAST_DB = 45.0

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


@pytest.mark.parametrize(
    ("sampler", "scheduler", "loop", "levels", "steps"),
    [
        ("Euler", "automatic", "euler", "normal", STEPS),
        ("Heun", "automatic", "heun", "normal", STEPS),
        ("LMS Karras", "", "lms", "karras", STEPS),
        ("DPM++ 2M", "automatic", "dpmpp_2m", "karras", STEPS),
        ("DPM++ 2M", "Normal", "dpmpp_2m", "normal", STEPS),
        ("DPM++ 2M", "Align Your Steps", "dpmpp_2m", "align_your_steps_a1111", STEPS),
        ("DPM2", "automatic", "dpm2", "karras", 9),
        ("DPM2", "automatic", "dpm2", "karras", 20),
        ("DPM2", "Normal", "dpm2", "normal", 9),
        ("DPM2 a", "automatic", "dpm2_a", "karras", 9),
        ("DPM2 a", "automatic", "dpm2_a", "karras", 20),
    ],
)
def test_a_picture_is_that_of_the_web_ui(
    sampler: str, scheduler: str, loop: str, levels: SigmaSchedule, steps: int
) -> None:
    asked = Txt2ImgRequest(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        sampler_name=sampler,
        scheduler=scheduler,
        steps=steps,
        cfg_scale=GUIDANCE,
        width=SIDE_PX,
        height=SIDE_PX,
        seed=SEED,
    )
    parameters = translated(asked, Options(), clip_skip_base=2).parameters
    request = resolve(parameters, spec_named("demo"), Limits(), random_seed=0).request
    error = np.mean((ours(model_named("demo"), request) - _web_ui(loop, levels, steps)) ** 2)
    psnr = 10 * math.log10(255**2 / error)
    assert psnr >= LEAST_DB, f"{psnr:.1f} dB"


@torch.inference_mode()
def _web_ui(loop: str, levels: SigmaSchedule, steps: int) -> np.ndarray[Any, Any]:
    """Height x width x 3, 0 to 255."""
    pipeline = pipeline_named("demo")
    generator, shape = torch.Generator().manual_seed(SEED), (1, 4, SIDE_PX // 8, SIDE_PX // 8)
    noise = noise_of(generator, shape)
    # The web UI takes levels for one step more for these, and leaves out the last but 0.
    sigmas = [*(published(levels, steps + 1)[:-1] if loop in ("dpm2", "dpm2_a") else published(levels, steps)), 0.0]
    x = LOOPS[loop](denoised, noise() * sigmas[0], sigmas, noise)
    image = pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample
    return np.asarray((image[0].permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255)
