"""Every sampler of the table, run for real on a tiny latent against a denoiser whose answer is known.

The data are normally distributed, so the best denoiser has a closed form, and so has the image that a noise leads to:
`MEAN + SPREAD * noise` where no noise is added on the way, and the same distribution where it is.
"""

import copy
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mpmath
import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_ancestral_discrete import EulerAncestralDiscreteScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_heun_discrete import HeunDiscreteScheduler
from diffusers.schedulers.scheduling_k_dpm_2_ancestral_discrete import KDPM2AncestralDiscreteScheduler
from diffusers.schedulers.scheduling_k_dpm_2_discrete import KDPM2DiscreteScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.models.spec import ModelTraits, TimestepSpacing
from litestar_diffusion.domain.requests.samplers import SAMPLERS, SamplerChoice, SamplerSpec, spec_of
from litestar_diffusion.infra.diffusion.beta_sigmas import beta_quantiles, beta_sigmas
from litestar_diffusion.infra.diffusion.samplers import build_sampler, start, step_arguments
from tests.infra.sdxl.k_diffusion import Loop, lms, plms

Network = Callable[[torch.Tensor, float], torch.Tensor]

PRISTINE: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "trained_betas": None,
    "use_karras_sigmas": False,
}
"""SDXL's own."""

EPSILON = ModelTraits()
V = ModelTraits(prediction_type="v_prediction")
V_ZERO_SNR = ModelTraits(prediction_type="v_prediction", zero_snr=True)
SCHEDULES = frozenset({"model", "karras", "exponential", "beta"})  # the others: test_sigma_schedules.py
CHOICES = [
    SamplerChoice(name=spec.name, schedule=sigmas)
    for spec in SAMPLERS
    for sigmas in spec.schedules
    if sigmas in SCHEDULES
]
SPACINGS: tuple[TimestepSpacing, ...] = ("leading", "linspace", "trailing")
NOISY = frozenset(
    {"euler_a", "dpmpp_2s_a", "dpm2_a", "ddpm", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_sde", "lcm", "tcd", "sa_solver"}
)
TWO_EVALUATIONS = frozenset({"heun", "dpm2", "dpm2_a", "dpmpp_2s_a"})
MEAN, SPREAD = 0.7, 0.5

# diffusers hands tensors to NumPy 2 functions, whose newer arguments torch's tensors do not know yet
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]
every_choice = pytest.mark.parametrize("choice", CHOICES, ids=str)
every_sampler = pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.name)


@every_choice
def test_a_point_is_reached(choice: SamplerChoice) -> None:
    """Where there is one image only, every sampler ends at it, DEIS and SA-Solver at what is left of the last noise."""
    for steps in (1, 20):
        error = (_run(choice, steps, EPSILON, spread=0.0) - MEAN).abs().mean().item()
        assert error < 0.05, f"{steps} steps end {error:.4f} off"


@every_choice
def test_networks_that_know_the_same_give_the_same_image(choice: SamplerChoice) -> None:
    """One predicts the noise, the other v. A sampler that does not know which one it has gives two images."""
    difference = (_run(choice, 15, EPSILON) - _run(choice, 15, V)).abs().max().item()
    assert (difference < 0.02) is spec_of(choice).v_prediction, f"up to {difference:.4f} apart"


@every_choice
def test_the_distribution_is_reached(choice: SamplerChoice) -> None:
    image = _run(choice, 30, EPSILON)
    mean, spread = image.mean().item(), image.std().item()
    # LCM throws the image back into noise, it is no solver; `beta` takes few of its steps where they are needed.
    least, most = (0.25, 0.75) if choice.name == "lcm" or choice.schedule == "beta" else (0.4, 0.6)
    assert abs(mean - MEAN) < 0.08
    assert least < spread < most, f"{spread:.3f}"


@pytest.mark.parametrize(
    "choice", [choice for choice in CHOICES if choice.name not in NOISY and choice.schedule != "beta"], ids=str
)
def test_without_added_noise_the_path_ends_where_theory_says(choice: SamplerChoice) -> None:
    errors = [(_run(choice, steps, EPSILON) - MEAN - SPREAD * _noise()).abs().mean().item() for steps in (5, 50)]
    assert errors[1] < 0.04, f"off by {errors[1]:.3f}"
    assert errors[1] < errors[0] + 0.01


@every_choice
def test_few_steps_are_finite_and_as_many_as_promised(choice: SamplerChoice) -> None:
    for spacing, steps in itertools.product(SPACINGS, (1, 2, 3, 7)):
        sampler = build_sampler(choice, PRISTINE, EPSILON, spacing)
        timesteps = start(sampler, steps)
        image = _denoise(sampler, timesteps, EPSILON)
        assert len(timesteps) == _evaluations(choice.name, steps)
        assert image.isfinite().all(), f"{spacing}, {steps} steps"
        assert image.dtype == torch.float32


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if spec_of(choice).zero_snr], ids=str)
def test_zero_snr_is_finite_and_near(choice: SamplerChoice) -> None:
    """Also with 30 steps, where rounding makes the first timesteps equal and diffusers would skip a noise level."""
    for steps in (1, 2, 30):
        image = _run(choice, steps, V_ZERO_SNR)
        assert image.isfinite().all(), f"{steps} steps"
        assert abs(image.mean().item() - MEAN) < 0.1, f"{steps} steps"


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(CHOICES), st.integers(1, 150), st.sampled_from(SPACINGS))
def test_any_number_of_steps_gives_timesteps_that_were_trained(
    choice: SamplerChoice, steps: int, spacing: TimestepSpacing
) -> None:
    timesteps = start(build_sampler(choice, PRISTINE, EPSILON, spacing), steps)
    assert len(timesteps) == _evaluations(choice.name, steps)
    assert timesteps.min() >= 0
    assert timesteps.max() <= 999
    assert timesteps.dtype in (torch.int64, torch.float32)


@every_sampler
@pytest.mark.parametrize("steps", [61, 103, 121, 122])
def test_trailing_spacing_does_not_run_past_the_end(spec: SamplerSpec, steps: int) -> None:
    """diffusers alone gives one timestep more, -1, for these numbers of steps."""
    sampler: Any = build_sampler(SamplerChoice(name=spec.name), PRISTINE, EPSILON, "trailing")
    timesteps = start(sampler, steps)
    assert len(timesteps) == _evaluations(spec.name, steps)
    assert timesteps.min() >= 0
    assert sampler.config.num_train_timesteps == 1000


def test_diffusers_alone_runs_past_the_end() -> None:
    """When this fails, diffusers is mended and the repair can go."""
    sampler = DDIMScheduler.from_config(PRISTINE, timestep_spacing="trailing")
    sampler.set_timesteps(61)
    assert sampler.timesteps[-1] == -1


@pytest.mark.parametrize("name", ["lcm", "tcd"])
@pytest.mark.parametrize("steps", [50, 51, 150])
def test_distilled_samplers_take_more_steps_than_they_were_distilled_with(name: str, steps: int) -> None:
    timesteps = start(build_sampler(SamplerChoice(name=name), PRISTINE, EPSILON, None), steps)
    assert len(timesteps.unique()) == steps
    assert timesteps[0] == 999


@pytest.mark.parametrize(
    ("choice", "scheduler", "options"),
    [
        (SamplerChoice(name="euler"), EulerDiscreteScheduler, {}),
        (SamplerChoice(name="euler_a"), EulerAncestralDiscreteScheduler, {}),
        (SamplerChoice(name="heun"), HeunDiscreteScheduler, {}),
        (SamplerChoice(name="ddim"), DDIMScheduler, {"set_alpha_to_one": True}),
        (SamplerChoice(name="dpmpp_2m"), DPMSolverMultistepScheduler, {"euler_at_final": True}),
        (
            SamplerChoice(name="dpmpp_2m_sde"),
            DPMSolverMultistepScheduler,
            {"algorithm_type": "sde-dpmsolver++", "euler_at_final": True},
        ),
        (SamplerChoice(name="unipc"), UniPCMultistepScheduler, {}),
    ],
    ids=str,
)
@pytest.mark.parametrize("traits", [EPSILON, V], ids=["epsilon", "v"])
def test_the_image_is_that_of_diffusers_configured_by_hand(
    choice: SamplerChoice, scheduler: Any, options: dict[str, Any], traits: ModelTraits
) -> None:
    by_hand = scheduler.from_config(PRISTINE, prediction_type=traits.prediction_type, **options)
    by_hand.set_timesteps(12)
    ours = build_sampler(choice, PRISTINE, traits, None)
    assert torch.equal(_denoise(ours, start(ours, 12), traits), _denoise(by_hand, by_hand.timesteps, traits))


@pytest.mark.parametrize(
    ("name", "scheduler"), [("dpm2", KDPM2DiscreteScheduler), ("dpm2_a", KDPM2AncestralDiscreteScheduler)]
)
def test_quick_interpolation_finds_the_timesteps_of_diffusers(name: str, scheduler: Any) -> None:
    by_hand = scheduler.from_config(PRISTINE)
    by_hand.set_timesteps(12)
    timesteps = start(build_sampler(SamplerChoice(name=name), PRISTINE, EPSILON, None), 12)
    torch.testing.assert_close(timesteps, by_hand.timesteps.float(), atol=1e-3, rtol=0)


@pytest.mark.parametrize(("name", "loop"), [("lms", lms), ("pndm", plms)])
@pytest.mark.parametrize("skipped", [0, 1, 2, 10, 17, 18, 19])
def test_a_multistep_sampler_begins_anew_wherever_its_first_step_is(name: str, loop: Loop, skipped: int) -> None:
    """Its first steps have no derivatives of earlier ones, also in the middle of a schedule."""
    sampler: Any = build_sampler(SamplerChoice(name=name), PRISTINE, EPSILON, None)
    timesteps = start(sampler, 20, skipped=skipped)
    assert len(timesteps) == _evaluations(name, 20 - skipped)
    level_of = {timestep: math.exp(_log_levels(zero_snr=False)[round(timestep)]) for timestep in timesteps.tolist()}
    levels, network = list(level_of.values()), _network(EPSILON, SPREAD)
    timestep_of = dict(zip(level_of.values(), level_of, strict=True))

    def denoised(x: torch.Tensor, level: float) -> torch.Tensor:
        return x - level * network(x / math.sqrt(level**2 + 1), timestep_of[level])

    first = MEAN + levels[0] * _noise()
    latents = first / math.sqrt(levels[0] ** 2 + 1) if name == "pndm" else first
    for timestep in timesteps:
        prediction = network(sampler.scale_model_input(latents, timestep), timestep.item())
        latents = sampler.step(prediction, timestep, latents, return_dict=False)[0]
    torch.testing.assert_close(latents, loop(denoised, first, [*levels, 0.0], _noise), atol=1e-4, rtol=0)


def test_lms_integrates_cubics_exactly() -> None:
    """Four coefficients of the multistep rule reproduce the integral of any polynomial of the third degree."""
    sampler: Any = build_sampler(SamplerChoice(name="lms"), PRISTINE, EPSILON, None)
    start(sampler, 10)
    sigmas = sampler.sigmas.double().numpy()
    cubic = np.polynomial.Polynomial([0.3, -1.0, 0.5, 0.25])
    rule = sum(sampler.get_lms_coefficient(4, 5, back) * cubic(sigmas[5 - back]) for back in range(4))
    assert rule == pytest.approx(cubic.integ()(sigmas[6]) - cubic.integ()(sigmas[5]), rel=1e-9)


def test_beta_quantiles_invert_the_distribution_function() -> None:
    probabilities = np.linspace(0, 1, 41)
    quantiles = beta_quantiles(probabilities)
    back = [float(mpmath.betainc(0.6, 0.6, 0, float(x), regularized=True)) for x in quantiles]
    assert back == pytest.approx(probabilities, abs=1e-7)


def test_beta_sigmas_go_from_the_first_sigma_to_the_last() -> None:
    sigmas = beta_sigmas([14.6, 3.0, 0.03], 9)
    assert (sigmas[0], sigmas[-1]) == (14.6, 0.03)
    assert (np.diff(sigmas) < 0).all()


@every_sampler
def test_two_requests_at_once_do_not_meet(spec: SamplerSpec) -> None:
    """Taking turns step by step, with other noise and other lengths, changes neither image."""
    choice = SamplerChoice(name=spec.name)
    alone = [_run(choice, steps, EPSILON, seeds=(seed,)) for steps, seed in ((6, 1), (9, 2))]
    paths = [_path(choice, steps, seed) for steps, seed in ((6, 1), (9, 2))]
    together = [list(filter(_is_tensor, path))[-1] for path in zip(*itertools.zip_longest(*paths), strict=True)]
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("spec", [spec for spec in SAMPLERS if "karras" in spec.schedules], ids=lambda spec: spec.name)
def test_karras_does_not_stick(spec: SamplerSpec) -> None:
    """After a Karras request on the same pristine config the default is what it was, and Karras differs from it."""
    pristine = copy.deepcopy(PRISTINE)
    before, karras, after = (
        start(build_sampler(SamplerChoice(name=spec.name, schedule=sigmas), pristine, EPSILON, None), 8)
        for sigmas in ("model", "karras", "model")
    )
    assert torch.equal(before, after)
    assert not torch.equal(before, karras)
    assert pristine == PRISTINE


def test_a_models_own_sampler_options_do_not_reach_other_samplers() -> None:
    """Another sampler's `solver_type` and `algorithm_type` would be refused, its Karras sigmas would stick."""
    pristine = PRISTINE | {
        "_class_name": "DPMSolverMultistepScheduler",
        "algorithm_type": "sde-dpmsolver++",
        "solver_type": "heun",
        "use_karras_sigmas": True,
        "thresholding": True,
        "variance_type": "fixed_small",
    }
    for choice in CHOICES:
        built = start(build_sampler(choice, pristine, EPSILON, None), 5)
        assert torch.equal(built, start(build_sampler(choice, PRISTINE, EPSILON, None), 5))


@every_sampler
def test_zero_snr_is_claimed_exactly_where_it_is_honoured(spec: SamplerSpec) -> None:
    """Honoured: nothing of the image is left at the last trained timestep, and the sampler starts there."""
    sampler: Any = build_sampler(SamplerChoice(name=spec.name), PRISTINE, V_ZERO_SNR, "trailing")
    timesteps = start(sampler, 10)
    image_left = sampler.alphas_cumprod[-1].item()
    assert (image_left <= 2**-24) is spec.zero_snr, f"{image_left:.2g} of the image is left"
    assert timesteps[0] == 999
    if isinstance(sigmas := getattr(sampler, "sigmas", None), torch.Tensor) and spec.name not in ("lcm", "tcd"):
        assert (sigmas[0].item() >= 4000) is spec.zero_snr


@every_sampler
def test_zero_snr_is_off_for_models_without_it(spec: SamplerSpec) -> None:
    sampler: Any = build_sampler(SamplerChoice(name=spec.name), PRISTINE, V, "trailing")
    assert sampler.alphas_cumprod[-1].item() == pytest.approx(0.00466, rel=0.01)


@every_sampler
def test_a_batch_is_its_images_made_alone(spec: SamplerSpec) -> None:
    """One generator for each image: noise added on the way does not depend on the neighbours."""
    choice = SamplerChoice(name=spec.name)
    together = _run(choice, 6, EPSILON, seeds=(3, 4))
    alone = torch.cat([_run(choice, 6, EPSILON, seeds=(seed,)) for seed in (3, 4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@every_sampler
def test_added_noise_comes_from_the_request_alone(spec: SamplerSpec) -> None:
    choice = SamplerChoice(name=spec.name)
    torch.manual_seed(0)
    first = _run(choice, 6, EPSILON)
    torch.manual_seed(1)
    assert torch.equal(first, _run(choice, 6, EPSILON))


def _evaluations(name: str, steps: int) -> int:
    if name in TWO_EVALUATIONS:
        return 2 * steps - 1
    return steps + 1 if name == "pndm" and steps > 1 else steps


def _run(
    choice: SamplerChoice,
    steps: int,
    traits: ModelTraits,
    spacing: TimestepSpacing = "trailing",
    *,
    spread: float = SPREAD,
    seeds: Sequence[int] = (0,),
) -> torch.Tensor:
    sampler = build_sampler(choice, PRISTINE, traits, spacing)
    timesteps = start(sampler, steps)
    return _denoise(sampler, timesteps, traits, spread=spread, seeds=seeds)


def _path(choice: SamplerChoice, steps: int, seed: int) -> Iterator[torch.Tensor]:
    sampler = build_sampler(choice, PRISTINE, EPSILON, "trailing")
    return _latents(sampler, start(sampler, steps), _network(EPSILON, SPREAD), (seed,))


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _denoise(
    sampler: Any,
    timesteps: torch.Tensor,
    traits: ModelTraits,
    *,
    spread: float = SPREAD,
    seeds: Sequence[int] = (0,),
) -> torch.Tensor:
    *_, last = _latents(sampler, timesteps, _network(traits, spread), seeds)
    return last


def _latents(sampler: Any, timesteps: torch.Tensor, network: Network, seeds: Sequence[int]) -> Iterator[torch.Tensor]:
    """The denoising loop; the latents after each evaluation."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    options = step_arguments(sampler, generators)
    latents = torch.cat([_noise(generator) for generator in generators]) * sampler.init_noise_sigma
    for timestep in timesteps:
        prediction = network(sampler.scale_model_input(latents, timestep), timestep.item())
        latents = sampler.step(prediction, timestep, latents, **options)[0]
        yield latents


def _noise(generator: torch.Generator | None = None) -> torch.Tensor:
    return torch.randn(1, 4, 16, 16, generator=generator or torch.Generator().manual_seed(0))


def _network(traits: ModelTraits, spread: float) -> Network:
    """The best denoiser there can be for data that are normally distributed."""

    def predict(noisy: torch.Tensor, timestep: float) -> torch.Tensor:
        alpha, sigma = _alpha_sigma(timestep, traits.zero_snr)
        weight = spread**2 * alpha / (alpha**2 * spread**2 + sigma**2)
        image = MEAN + weight * (noisy - alpha * MEAN)
        noise = (noisy - alpha * image) / sigma
        return noise if traits.prediction_type == "epsilon" else alpha * noise - sigma * image

    return predict


def _alpha_sigma(timestep: float, zero_snr: bool) -> tuple[float, float]:
    """How much image and how much noise there is at a timestep, whole or not."""
    level = np.interp(timestep, np.arange(1000), _log_levels(zero_snr))
    return float(1 / np.sqrt(1 + np.exp(2 * level))), float(1 / np.sqrt(1 + np.exp(-2 * level)))


@functools.cache
def _log_levels(zero_snr: bool) -> np.ndarray[Any, Any]:
    """Logarithms of noise over image at the trained timesteps; rescaled as in arXiv:2305.08891, algorithm 1."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.sqrt(np.cumprod(1 - betas))
    if zero_snr:
        alphas = (alphas - alphas[-1]) * alphas[0] / (alphas[0] - alphas[-1])
    alphas = np.maximum(alphas, 2**-12)
    return np.log(np.sqrt(1 - alphas**2) / alphas)
