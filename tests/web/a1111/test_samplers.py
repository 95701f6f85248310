"""Samplers and schedulers mean what they mean in the web UI."""

import pytest

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.web.a1111.samplers import SCHEDULERS, sampling

AUTOMATIC = {
    "Euler": "normal", "Euler a": "normal", "LMS": "normal", "Heun": "normal", "UniPC": "normal",
    "DPM++ 2M": "karras", "DPM++ SDE": "karras", "DPM++ 2S a": "karras", "DPM2": "karras", "DPM2 a": "karras",
    "DPM++ 2M SDE": "exponential", "DPM++ 3M SDE": "exponential",
    "DDIM": None, "PLMS": None, "LCM": None,
}  # fmt: skip
"""As `sd_samplers_kdiffusion.py` of version 1.10 defines them; None: timesteps of its own."""


@pytest.mark.parametrize(("sampler", "schedule"), AUTOMATIC.items())
def test_automatic_is_what_the_samplers_definition_says(sampler: str, schedule: str | None) -> None:
    for scheduler in ("automatic", "Automatic", ""):
        assert sampling(sampler, scheduler).schedule == schedule
        assert sampling(sampler, scheduler).warnings == ()


@pytest.mark.parametrize(
    ("sampler", "scheduler", "meant"),
    [
        ("DPM++ 2M", "Karras", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "Exponential", ("dpmpp_2m", "karras")),
        ("DPM++ 2M SGM Uniform", "automatic", ("dpmpp_2m", "sgm_uniform")),
        ("Euler", "Uniform", ("euler", "normal")),
        ("Euler", "normal", ("euler", "normal")),
        ("Euler", "Polyexponential", ("euler", "exponential")),
        ("Euler", "SGMUniform", ("euler", "sgm_uniform")),
        ("Euler", "ddim", ("euler", "ddim_uniform")),
        ("Euler a", "Align Your Steps", ("euler_a", "align_your_steps_a1111")),
        ("k_dpmpp_2m", "beta", ("dpmpp_2m", "beta")),
        ("dpmpp_2m_karras", "automatic", ("dpmpp_2m", "karras")),
        ("", "Automatic", (None, None)),
    ],
)
def test_a_sampler_and_a_scheduler_are_found(sampler: str, scheduler: str, meant: tuple[str, str]) -> None:
    found = sampling(sampler, scheduler)
    assert (found.sampler, found.schedule) == meant


@pytest.mark.parametrize("sampler", AUTOMATIC)
def test_the_last_level_but_0_is_left_out_where_the_samplers_definition_says_so(sampler: str) -> None:
    discarding = sampler in ("DPM2", "DPM2 a", "DPM++ 3M SDE")
    assert sampling(sampler, "").discard_penultimate is discarding
    if AUTOMATIC[sampler]:
        assert sampling(f"{sampler} Karras", "").discard_penultimate is discarding


def test_every_label_that_is_listed_is_understood() -> None:
    for scheduler in SCHEDULERS:
        for name in (scheduler.name, scheduler.label, *scheduler.aliases):
            assert sampling("Euler", name).schedule == (scheduler.schedule or "normal")


@pytest.mark.parametrize("scheduler", ["KL Optimal", "x" * 100_000])
def test_an_unknown_scheduler_is_answered_with_the_list(scheduler: str) -> None:
    with pytest.raises(InvalidRequest, match="Schedulers: Automatic, Uniform, Karras"):
        sampling("Euler", scheduler)
