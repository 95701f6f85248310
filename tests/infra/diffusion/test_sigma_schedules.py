"""Schedules are those of k-diffusion and ComfyUI: equal to tables that are computed here from their published loops."""

import functools
import math
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

from litestar_diffusion.domain.models.spec import ModelTraits
from litestar_diffusion.domain.requests.samplers import SAMPLERS, SamplerChoice, SamplerSpec, SigmaSchedule
from litestar_diffusion.infra.diffusion.samplers import build_sampler, start
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, read_config

CONFIG = read_config(SHIPPED_CONFIGS, "scheduler/scheduler_config.json")
BETAS = [(math.sqrt(0.00085) + i * (math.sqrt(0.012) - math.sqrt(0.00085)) / 999) ** 2 for i in range(1000)]
ALPHAS = list(np.cumprod([1 - beta for beta in BETAS]))
TRAINED = [math.sqrt((1 - alpha) / alpha) for alpha in ALPHAS]
SCHEDULES: tuple[SigmaSchedule, ...] = (
    "normal", "karras", "exponential", "beta", "sgm_uniform", "simple", "ddim_uniform", "align_your_steps",
    "align_your_steps_a1111",
)  # fmt: skip
AYS = [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029]
FIRST_ORDER = [
    spec
    for spec in SAMPLERS
    if "karras" in spec.schedules and spec.name not in ("heun", "dpm2", "dpm2_a", "dpmpp_2s_a", "deis")
]
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]


def sigma(t: float) -> float:
    """k-diffusion's `t_to_sigma`."""
    low = math.floor(t)
    high, share = min(low + 1, 999), t - low
    return math.exp((1 - share) * math.log(TRAINED[low]) + share * math.log(TRAINED[high]))


def loglinear(levels: list[float], count: int) -> list[float]:
    """NVIDIA's interpolation of a published table."""
    xs = np.linspace(0, 1, len(levels))
    return list(np.exp(np.interp(np.linspace(0, 1, count), xs, np.log(levels[::-1])))[::-1])


@functools.cache
def beta_quantile(probability: float) -> float:
    """Inverse of the distribution function of Beta(0.6, 0.6), by halving."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        below = mpmath.betainc(0.6, 0.6, 0, middle, regularized=True) < probability
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def published(schedule: SigmaSchedule, steps: int) -> list[float]:
    least, most = TRAINED[0], TRAINED[-1]
    match schedule:
        case "normal":
            return [sigma(999 - 999 * i / (steps - 1)) for i in range(steps)]
        case "karras":
            ramp = [i / (steps - 1) for i in range(steps)]
            return [(most ** (1 / 7) + r * (least ** (1 / 7) - most ** (1 / 7))) ** 7 for r in ramp]
        case "exponential":
            return [most * (least / most) ** (i / (steps - 1)) for i in range(steps)]
        case "beta":
            return [least + (most - least) * beta_quantile(1 - i / (steps - 1)) for i in range(steps)]
        case "sgm_uniform":
            return [sigma(999 - 999 * i / steps) for i in range(steps)]
        case "simple":
            return [TRAINED[-(1 + int(x * (1000 / steps)))] for x in range(steps)]
        case "ddim_uniform":
            found, x = [], 1
            while x < 1000:
                found.append(TRAINED[x])
                x += max(1000 // steps, 1)
            return found[::-1]
        case "align_your_steps":
            return loglinear(AYS, steps + 1)[:-1]
        case "align_your_steps_a1111":
            return loglinear(AYS, steps)
        case _:
            raise ValueError(schedule)


@pytest.mark.parametrize("steps", [4, 14, 30])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("spec", FIRST_ORDER, ids=lambda spec: spec.name)
def test_noise_levels_are_those_of_the_published_formula(
    spec: SamplerSpec, schedule: SigmaSchedule, steps: int
) -> None:
    sampler: Any = build_sampler(SamplerChoice(name=spec.name, schedule=schedule), CONFIG, ModelTraits(), None)
    timesteps = start(sampler, steps)
    wanted = [*published(schedule, steps), 0.0]
    assert sampler.sigmas.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    assert len(timesteps) == len(wanted) - 1


@pytest.mark.parametrize("spec", [spec for spec in SAMPLERS if "karras" in spec.schedules], ids=lambda spec: spec.name)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_begins_at_the_largest_noise_level_with_every_sampler(
    spec: SamplerSpec, schedule: SigmaSchedule
) -> None:
    sampler: Any = build_sampler(SamplerChoice(name=spec.name, schedule=schedule), CONFIG, ModelTraits(), None)
    timesteps = start(sampler, 10)
    first = float(sampler.sigmas[0])
    assert first == pytest.approx(sigma(901) if schedule == "ddim_uniform" else 14.6146, rel=1e-3)
    assert bool((torch.diff(sampler.sigmas) <= 0).all())
    assert float(timesteps.min()) >= 0
    assert float(timesteps.max()) <= 999


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_euler_walks_as_k_diffusion_does(schedule: SigmaSchedule) -> None:
    """A denoiser that is wrong by a share of its input, so that the path matters and not only its end."""
    sampler: Any = build_sampler(SamplerChoice(name="euler", schedule=schedule), CONFIG, ModelTraits(), None)
    timesteps = start(sampler, 10)
    levels = published(schedule, 10)
    ours = torch.tensor([1.3]) * sampler.init_noise_sigma
    theirs = 1.3 * math.sqrt(levels[0] ** 2 + 1)
    for index, (now, following) in enumerate(zip(levels, [*levels[1:], 0.0], strict=True)):
        prediction = ours * 0.1 + 0.2
        ours = sampler.step(prediction, timesteps[index], ours, return_dict=False)[0]
        theirs += (theirs * 0.1 + 0.2) * (following - now)
    assert float(ours) == pytest.approx(theirs, rel=1e-4)
