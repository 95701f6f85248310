"""Builds and drives samplers: a fresh diffusers scheduler for every request, from the model's pristine config.

Nothing is shared between two of them and nothing outlives the request, so every function may be called from any thread.
"""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import schedulers
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_deis_multistep import DEISMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_singlestep import DPMSolverSinglestepScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from diffusers.schedulers.scheduling_pndm import PNDMScheduler
from diffusers.schedulers.scheduling_sasolver import SASolverScheduler
from diffusers.schedulers.scheduling_tcd import TCDScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from ...domain.families.stated_sampler import own_options, stated_sampler
from ...domain.models.spec import ModelTraits, TimestepSpacing
from ...domain.requests.samplers import SamplerChoice, parse_sampler
from .dpmpp_2s_ancestral import DPMSolverPP2SAncestralScheduler
from .euler_ancestral import ScheduledEulerAncestralDiscreteScheduler
from .kdpm2 import QuickKDPM2AncestralDiscreteScheduler, QuickKDPM2DiscreteScheduler
from .lms import ExactLMSDiscreteScheduler
from .sigma_schedules import SigmaTable

_NOISE_SCHEDULE = frozenset(
    {
        "num_train_timesteps",
        "beta_start",
        "beta_end",
        "beta_schedule",
        "trained_betas",
        "interpolation_type",
        "steps_offset",
        "timestep_spacing",
    }
)
"""Keys that a sampler takes from the model's config. The other keys belong to the sampler that the config was written for:
`solver_type` or `algorithm_type` mean something else, or nothing, to another."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    scheduler: type[SchedulerMixin]
    options: Mapping[str, Any] = field(default_factory=dict)


def _dpm(scheduler: type[SchedulerMixin], algorithm_type: str, order: int) -> _Recipe:
    """Return options of DPM-Solver++; without the last three it leaves noise in the images of large latent models."""
    return _Recipe(
        scheduler,
        {
            "algorithm_type": algorithm_type,
            "solver_order": order,
            "lower_order_final": True,
            "euler_at_final": True,
            "final_sigmas_type": "zero",
        },
    )


_TO_ZERO = {"set_alpha_to_one": True, "clip_sample": False}
"""Latents reach beyond [-1, 1]; and the last step ends at no noise, not at that of the first training timestep."""

_RECIPES: Mapping[str, _Recipe] = {
    "euler": _Recipe(EulerDiscreteScheduler),
    "euler_a": _Recipe(ScheduledEulerAncestralDiscreteScheduler),
    "heun": _Recipe(HeunDiscreteScheduler),
    "dpm2": _Recipe(QuickKDPM2DiscreteScheduler),
    "dpm2_a": _Recipe(QuickKDPM2AncestralDiscreteScheduler),
    "lms": _Recipe(ExactLMSDiscreteScheduler),
    "ddim": _Recipe(DDIMScheduler, _TO_ZERO),
    "ddpm": _Recipe(DDPMScheduler, _TO_ZERO),
    "pndm": _Recipe(PNDMScheduler, {**_TO_ZERO, "skip_prk_steps": True}),
    "dpmpp_2m": _dpm(DPMSolverMultistepScheduler, "dpmsolver++", 2),
    "dpmpp_2m_sde": _dpm(DPMSolverMultistepScheduler, "sde-dpmsolver++", 2),
    "dpmpp_3m": _dpm(DPMSolverMultistepScheduler, "dpmsolver++", 3),
    "dpmpp_3m_sde": _dpm(DPMSolverMultistepScheduler, "sde-dpmsolver++", 3),
    "dpmpp_2s": _dpm(DPMSolverSinglestepScheduler, "dpmsolver++", 2),
    "dpmpp_2s_a": _Recipe(DPMSolverPP2SAncestralScheduler),
    "dpmpp_sde": _dpm(DPMSolverSinglestepScheduler, "sde-dpmsolver++", 2),
    "unipc": _Recipe(UniPCMultistepScheduler, {"final_sigmas_type": "zero"}),
    "deis": _Recipe(DEISMultistepScheduler),
    "lcm": _Recipe(LCMScheduler, _TO_ZERO),
    "tcd": _Recipe(TCDScheduler, _TO_ZERO),
    "sa_solver": _Recipe(SASolverScheduler),
}


def build_sampler(
    choice: SamplerChoice, pristine: Mapping[str, Any], traits: ModelTraits, spacing: TimestepSpacing | None
) -> SchedulerMixin:
    """Build a new scheduler that nothing else holds.

    Args:
        choice: a sampler of the table and one of the sigma schedules that it can do.
        pristine: the model's `scheduler_config.json`; only read.
        traits: decide the prediction type and whether the noise schedule is rescaled to zero terminal SNR, which
            samplers that do not know it ignore (`resolve` has warned).
        spacing: spacing of the timesteps; None for that of `pristine`.
    """
    recipe = _RECIPES[choice.name]
    config = {key: value for key, value in pristine.items() if key in _NOISE_SCHEDULE}
    config |= {**recipe.options, **_own_options(choice, pristine)}
    config |= {"prediction_type": traits.prediction_type, "rescale_betas_zero_snr": traits.zero_snr}
    if spacing is not None:
        config["timestep_spacing"] = spacing
    scheduler = recipe.scheduler(**_accepted(recipe.scheduler, config))
    _use_schedule(scheduler, choice)
    return scheduler


def with_class_defaults(scheduler: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scheduler's config with the values of its class for keys that it lacks; classes of diffusers differ in them."""
    known: Any = getattr(schedulers, scheduler, None)
    if known is None:
        return {**stated, "_class_name": scheduler}
    parameters = inspect.signature(known.__init__).parameters.values()
    usual = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    return {**usual, **stated, "_class_name": scheduler}


def _own_options(choice: SamplerChoice, pristine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of the model's own sampler, if it is the chosen one: they were set for it, and hold for no other."""
    scheduler = str(pristine.get("_class_name", ""))
    own = stated_sampler(scheduler, pristine)
    if own is None or parse_sampler(own).name != choice.name:
        return {}
    return own_options(scheduler, pristine)


def start(scheduler: Any, steps: int, *, skipped: int = 0) -> torch.Tensor:
    """Prepare a new scheduler for the last of `steps` steps: all of them but the first `skipped`.

    The timesteps stay on the host: some schedulers compare them with numbers, and the host would wait for the device each time.

    Returns:
        The timesteps, one for each evaluation of the UNet. For n steps that are taken, 2 * n - 1 of them for samplers that
        evaluate it twice in a step (Heun, DPM2, DPM++ 2S a), n + 1 for PNDM if n > 1, n for the others.
    """
    _set_timesteps(scheduler, steps)
    _use_fractions(scheduler)
    scheduler.timesteps = _single(scheduler.timesteps)
    _end_below(scheduler)
    if isinstance(scheduler, PNDMScheduler):
        return _with_second_repeated(scheduler.timesteps, skipped)
    begin = skipped * getattr(scheduler, "order", 1)
    if hasattr(scheduler, "set_begin_index"):
        # Otherwise the first step looks its index up by the timestep and takes the second of two equal ones.
        scheduler.set_begin_index(begin)
    return scheduler.timesteps[begin:]


def _with_second_repeated(timesteps: torch.Tensor, skipped: int) -> torch.Tensor:
    """Return the timesteps of PNDM without those of the first steps.

    Its first step, wherever it is, evaluates the network at both of its ends (Liu et al. 2022, arXiv:2202.09778, equation 13), so
    the second timestep is there twice.
    """
    grid = torch.cat([timesteps[:1], timesteps[2:]])[skipped:]
    return torch.cat([grid[:2], grid[1:]])


def steps_of_evaluations(scheduler: Any, evaluations: int, steps: int) -> list[int]:
    """Return the step, counted from 1, that each evaluation of the network belongs to.

    Args:
        scheduler: after `start`.
        evaluations: number of timesteps that `start` returned.
        steps: number of steps that are taken.
    """
    order: int = getattr(scheduler, "order", 1)
    repeated = max(0, evaluations - order * steps)  # PNDM takes its first step twice
    return [max(0, index - repeated) // order + 1 for index in range(evaluations)]


def step_arguments(scheduler: Any, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    """Return the arguments of `scheduler.step` beside model output, timestep and sample: one generator for each image, if any."""
    if "generator" in inspect.signature(scheduler.step).parameters:
        return {"generator": list(generators), "return_dict": False}
    return {"return_dict": False}


def _accepted(scheduler: type[SchedulerMixin], config: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(scheduler.__init__).parameters
    return {key: value for key, value in config.items() if key in known}


def _use_schedule(scheduler: Any, choice: SamplerChoice) -> None:
    """Have a scheduler take its noise levels from a table, by the one hook that its class has."""
    if choice.schedule == "model":
        return
    alphas = scheduler.alphas_cumprod.double().numpy()
    table = SigmaTable(choice.schedule, ((1 - alphas) / alphas) ** 0.5, choice.discard_penultimate)
    if isinstance(scheduler, ScheduledEulerAncestralDiscreteScheduler):
        scheduler.table = table
        return
    # After construction, because some constructors compute a thousand steps with it.
    scheduler.register_to_config(use_karras_sigmas=True)
    scheduler._convert_to_karras = table  # noqa: SLF001


def _use_fractions(scheduler: Any) -> None:
    """Put the timesteps of a table's noise levels in the place of those that most classes of diffusers round."""
    table = getattr(scheduler, "_convert_to_karras", None)
    if isinstance(table, SigmaTable):
        each: int = (
            scheduler.order
        )  # evaluations of the network in a step; the first of each is at a level of the table
        timesteps = scheduler.timesteps.double()
        levels = scheduler.sigmas[: len(timesteps) : each].double().numpy()
        timesteps[::each] = torch.from_numpy(table.timesteps(levels))
        scheduler.timesteps = timesteps


def _set_timesteps(scheduler: Any, steps: int) -> None:
    trained = scheduler.config.num_train_timesteps
    if scheduler.config.get("timestep_spacing") != "trailing":
        scheduler.set_timesteps(steps, **_grid(steps, scheduler))
        return
    scheduler.register_to_config(num_train_timesteps=_divisible(trained, steps))
    scheduler.set_timesteps(steps, **_grid(steps, scheduler))
    scheduler.register_to_config(num_train_timesteps=trained)


def _divisible(trained: int, steps: int) -> float:
    """Return the number of trained timesteps, or the next larger float that trailing spacing divides into `steps` timesteps.

    diffusers counts down from 1000 by 1000 / steps. With 61, 103, 121 or 122 steps the quotient is rounded down, which leaves a
    hair above 0 and makes one timestep too many, -1. DDIM and its kin then start afresh from pure noise in their last step.
    """
    dividend: float = trained
    while np.arange(dividend, 0, -dividend / steps).size > steps:
        dividend = math.nextafter(dividend, math.inf)
    return dividend


def _grid(steps: int, scheduler: Any) -> dict[str, int]:
    """Let LCM and TCD, which choose among the timesteps of the distillation, choose among all for more steps than that."""
    if steps > scheduler.config.get("original_inference_steps", steps):
        return {"original_inference_steps": scheduler.config.num_train_timesteps}
    return {}


def _single(timesteps: torch.Tensor) -> torch.Tensor:
    """Convert timesteps from double precision, which not every device has."""
    return timesteps.float() if timesteps.is_floating_point() else timesteps


def _end_below(scheduler: Any) -> None:
    """Lower the last sigma of DEIS, which repeats the one before with Karras, exponential or beta sigmas and so wastes a step.

    DEIS cannot end at zero; a hundredth of the smallest trained noise level is not visible.
    """
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) > 1 and sigmas[-1] == sigmas[-2] > 0:
        image_left = scheduler.alphas_cumprod[0]
        sigmas[-1] = ((1 - image_left) / image_left) ** 0.5 / 100
