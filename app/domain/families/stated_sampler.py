"""Which sampler the config of a diffusers scheduler means, and which of its values are served.

A value that changes the picture is passed to the sampler, or it is refused here. Keys that a class does not have are ignored,
as diffusers ignores them.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .reading import NotServable

TRAINED_STEPS = 1000
_EDM = "this is an EDM model (CosXL, Playground 2.5), which predicts neither noise nor v; that is not served."
_FLOW = "this is a flow-matching model, which predicts neither noise nor v; that is not served."


@dataclass(frozen=True, slots=True)
class _Served:
    """The values of a key that are served."""

    accepts: Callable[[Any], bool]
    words: str


def _one_of(*values: object) -> _Served:
    def accepts(value: Any) -> bool:
        return any(value == each and type(value) is type(each) for each in values)

    return _Served(accepts, " or ".join(repr(value) for value in values))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(above: float, below: float) -> _Served:
    return _Served(
        lambda value: _is_number(value) and above < value < below, f"a number between {above:g} and {below:g}"
    )


def _count(least: int, most: int) -> _Served:
    def accepts(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

    return _Served(accepts, f"a whole number from {least} to {most}")


def _is_betas(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, list) and len(value) == TRAINED_STEPS and all(map(_BETA.accepts, value))  # pyright: ignore[reportUnknownArgumentType]


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and all(map(_count(0, TRAINED_STEPS).accepts, value))  # pyright: ignore[reportUnknownArgumentType]


_FLAG = _one_of(False, True)
_BETA = _number(0, 1)
_NOISE: Mapping[str, _Served] = {
    "num_train_timesteps": _one_of(TRAINED_STEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "beta_schedule": _one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": _Served(_is_betas, f"null or {TRAINED_STEPS} numbers between 0 and 1"),
    "prediction_type": _one_of("epsilon", "v_prediction"),
    "timestep_spacing": _one_of("leading", "linspace", "trailing"),
    "steps_offset": _one_of(0, 1),
    "rescale_betas_zero_snr": _FLAG,
}
"""Keys of the noise schedule, which every sampler takes from the model's config."""
_CLIPPING = {"clip_sample": _FLAG, "clip_sample_range": _number(0, 1000)}
_THRESHOLDING = {
    "thresholding": _FLAG,
    "dynamic_thresholding_ratio": _number(0, 1),
    "sample_max_value": _number(0, 1000),
}
_SIGMAS = {"use_karras_sigmas": _FLAG, "use_exponential_sigmas": _FLAG, "use_beta_sigmas": _FLAG}
_NOT_FLOW = {"use_flow_sigmas": _one_of(False), "use_dynamic_shifting": _one_of(False)}
_ANCESTRAL_OF_DPM = {
    "lambda_min_clipped": _Served(lambda value: value == -math.inf or _is_number(value), "a number"),
    "variance_type": _one_of(None),
}
_DPM = {
    **_THRESHOLDING,
    **_SIGMAS,
    **_NOT_FLOW,
    **_ANCESTRAL_OF_DPM,
    "algorithm_type": _one_of("dpmsolver++", "sde-dpmsolver++"),
    "solver_type": _one_of("midpoint", "heun"),
    "lower_order_final": _FLAG,
    "final_sigmas_type": _one_of("zero", "sigma_min"),
}
_DISTILLED = {
    **_CLIPPING,
    **_THRESHOLDING,
    "set_alpha_to_one": _FLAG,
    "original_inference_steps": _count(1, TRAINED_STEPS),
    "timestep_scaling": _number(0, 1000),
}
_DDPM = {
    **_CLIPPING,
    **_THRESHOLDING,
    "variance_type": _one_of("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"),
}
_DDIM = {**_CLIPPING, **_THRESHOLDING, "set_alpha_to_one": _FLAG}


@dataclass(frozen=True, slots=True)
class _Scheduler:
    """A scheduler class of diffusers."""

    sampler: str
    served: Mapping[str, _Served] = field(default_factory=dict[str, _Served])
    """Keys beside those of the noise schedule."""


_SCHEDULERS: Mapping[str, _Scheduler] = {
    "EulerDiscreteScheduler": _Scheduler(
        "euler",
        {
            **_SIGMAS,
            "interpolation_type": _one_of("linear", "log_linear"),
            "sigma_min": _one_of(None),
            "sigma_max": _one_of(None),
            "timestep_type": _one_of("discrete"),
            "final_sigmas_type": _one_of("zero"),
        },
    ),
    "EulerAncestralDiscreteScheduler": _Scheduler("euler_a"),
    "HeunDiscreteScheduler": _Scheduler("heun", {**_SIGMAS, **_CLIPPING}),
    "KDPM2DiscreteScheduler": _Scheduler("dpm2", _SIGMAS),
    "KDPM2AncestralDiscreteScheduler": _Scheduler("dpm2_a", _SIGMAS),
    "LMSDiscreteScheduler": _Scheduler("lms", _SIGMAS),
    "DDIMScheduler": _Scheduler("ddim", _DDIM),
    "DDIMParallelScheduler": _Scheduler("ddim", _DDIM),
    "DDPMScheduler": _Scheduler("ddpm", _DDPM),
    "DDPMParallelScheduler": _Scheduler("ddpm", _DDPM),
    "PNDMScheduler": _Scheduler("pndm", {"skip_prk_steps": _one_of(True), "set_alpha_to_one": _FLAG}),
    "DPMSolverMultistepScheduler": _Scheduler(
        "dpmpp_2m",
        {**_DPM, "solver_order": _one_of(2, 3), "euler_at_final": _FLAG, "use_lu_lambdas": _one_of(False)},
    ),
    "DPMSolverSinglestepScheduler": _Scheduler("dpmpp_2s", {**_DPM, "solver_order": _one_of(2)}),
    "UniPCMultistepScheduler": _Scheduler(
        "unipc",
        {
            **_THRESHOLDING,
            **_SIGMAS,
            **_NOT_FLOW,
            "solver_order": _count(1, 3),
            "predict_x0": _FLAG,
            "solver_type": _one_of("bh2"),  # diffusers itself makes NaN of bh1 where the last noise level is 0
            "lower_order_final": _FLAG,
            "disable_corrector": _Served(_are_steps, "a list of steps"),
            "solver_p": _one_of(None),
            "final_sigmas_type": _one_of("zero", "sigma_min"),
            "sigma_min": _one_of(None),
            "sigma_max": _one_of(None),
            "shift_terminal": _one_of(None),
        },
    ),
    "DEISMultistepScheduler": _Scheduler(
        "deis",
        {
            **_THRESHOLDING,
            **_SIGMAS,
            **_NOT_FLOW,
            "solver_order": _count(1, 3),
            "algorithm_type": _one_of("deis"),
            "solver_type": _one_of("logrho"),
            "lower_order_final": _FLAG,
        },
    ),
    "LCMScheduler": _Scheduler("lcm", _DISTILLED),
    "TCDScheduler": _Scheduler("tcd", _DISTILLED),
    "SASolverScheduler": _Scheduler(
        "sa_solver",
        {
            **_THRESHOLDING,
            **_SIGMAS,
            **_ANCESTRAL_OF_DPM,
            "use_flow_sigmas": _one_of(False),
            "predictor_order": _count(1, 4),
            "corrector_order": _count(1, 4),
            "tau_func": _one_of(None),
            "algorithm_type": _one_of("data_prediction", "noise_prediction"),
            "lower_order_final": _FLAG,
        },
    ),
}
_HARMLESS = {
    "flow_shift": "read with use_flow_sigmas only, which is refused",
    "time_shift_type": "read with use_dynamic_shifting only, which is refused",
}
HARMLESS_KEYS: Mapping[str, str] = _HARMLESS
"""Keys of these classes that have no influence on the picture, and why."""


def scheduler_class(stated: Mapping[str, Any], part: Any) -> str:
    """Return the scheduler class of a folder: that of its `model_index.json`, which diffusers loads, else of the config.

    Args:
        stated: the content of `scheduler_config.json`.
        part: library and class in `model_index.json`.
    """
    if isinstance(part, list | tuple) and len(part) == 2 and isinstance(part[1], str):  # pyright: ignore[reportUnknownArgumentType]
        return part[1]
    named = stated.get("_class_name")
    return named if isinstance(named, str) else "EulerDiscreteScheduler"


def check_scheduler(scheduler: str, stated: Mapping[str, Any]) -> None:
    """Refuse a scheduler that no sampler replaces, and values that no sampler takes.

    Raises:
        NotServable: with the key, its value and the values that are served.
    """
    for name in (scheduler, stated.get("_class_name", scheduler)):
        if name not in _SCHEDULERS:
            raise NotServable(_unknown(str(name)))
    own = {**_NOISE, **_SCHEDULERS[scheduler].served}
    for key, served in own.items():
        if key in stated and not served.accepts(stated[key]):
            raise NotServable(
                f"its scheduler_config.json sets {key} to {_shown(stated[key])}; only {served.words} is served."
            )
    if stated.get("beta_start", 0) > stated.get("beta_end", 1):
        raise NotServable("its scheduler_config.json has a beta_start above its beta_end; that is not served.")
    if scheduler == "PNDMScheduler" and "skip_prk_steps" not in stated:
        raise NotServable("its scheduler_config.json lacks skip_prk_steps; only True is served.")
    if sum(bool(stated.get(key)) for key in _SIGMAS) > 1:
        raise NotServable(f"its scheduler_config.json sets more than one of {', '.join(_SIGMAS)}.")


def stated_sampler(scheduler: str, stated: Mapping[str, Any]) -> str | None:
    """Return the name of the sampler that a scheduler's config means, such as `dpmpp_2m_sde_karras`; None if there is none."""
    if scheduler not in _SCHEDULERS:
        return None
    known = _SCHEDULERS[scheduler]
    name = _of_dpm_solver(known.sampler, stated) if known.sampler.startswith("dpmpp") else known.sampler
    sigmas = next((key.split("_")[1] for key in _SIGMAS if key in known.served and stated.get(key)), None)
    return name if sigmas is None else f"{name}_{sigmas}"


def own_options(scheduler: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a config that belong to the sampler that it was written for, beside the noise schedule."""
    decided = {*_SIGMAS, "algorithm_type", "solver_order"} if scheduler.startswith("DPM") else {*_SIGMAS}
    own = _SCHEDULERS[scheduler].served if scheduler in _SCHEDULERS else _NOISE
    return {key: stated[key] for key in own if key in stated and key not in (*decided, *_NOISE)}


def _of_dpm_solver(sampler: str, stated: Mapping[str, Any]) -> str:
    is_sde = stated.get("algorithm_type") == "sde-dpmsolver++"
    if sampler == "dpmpp_2s":
        return "dpmpp_sde" if is_sde else sampler
    return f"dpmpp_{stated.get('solver_order', 2)}m{'_sde' if is_sde else ''}"


def _unknown(scheduler: str) -> str:
    if scheduler.startswith("EDM"):
        return _EDM
    if scheduler.startswith("Flow"):
        return _FLOW
    return f"its model_index.json or scheduler_config.json names the sampler {scheduler!r}; that is not served."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
