"""The table of samplers: every common spelling means one thing, and what cannot be done is said."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.models.spec import Folder, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.domain.requests.samplers import (
    SAMPLERS,
    SamplerChoice,
    SamplerSpec,
    SigmaSchedule,
    UnknownSampler,
    parse_sampler,
    spec_of,
    zero_snr_samplers,
)

MODEL = ModelSpec(name=ModelName("m"), source=Folder(path=Path("m")), traits=ModelTraits(size_px=1024))
CHOICES = [SamplerChoice(name=spec.name, schedule=sigmas) for spec in SAMPLERS for sigmas in spec.schedules]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Euler", "euler"),
        ("Euler a", "euler_a"),
        ("euler_ancestral", "euler_a"),
        ("k_euler_a", "euler_a"),
        ("EulerDiscreteScheduler", "euler"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("Heun", "heun"),
        ("DPM2", "dpm2"),
        ("dpm_2", "dpm2"),
        ("DPM2 a", "dpm2_a"),
        ("dpm_2_ancestral", "dpm2_a"),
        ("DPM2 a Karras", "dpm2_a_karras"),
        ("KDPM2AncestralDiscreteScheduler", "dpm2_a"),
        ("LMS Karras", "lms_karras"),
        ("PLMS", "pndm"),
        ("DDIM", "ddim"),
        ("ddpm", "ddpm"),
        ("DPM++ 2M", "dpmpp_2m"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
        ("DPM++ 2M automatic", "dpmpp_2m"),
        ("DPM++ 2M Automatic", "dpmpp_2m"),
        ("dpmpp_2m", "dpmpp_2m"),
        ("dpmpp_2m_karras", "dpmpp_2m_karras"),
        ("k_dpmpp_2m_ka", "dpmpp_2m_karras"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m"),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde_exponential"),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde"),
        ("euler_k", "euler_karras"),
        ("dpmpp_2m_k", "dpmpp_2m_karras"),
        ("Euler a Karras", "euler_a_karras"),
        ("Euler Uniform", "euler_normal"),
        ("Euler SGM Uniform", "euler_sgm_uniform"),
        ("DPM++ 2M Align Your Steps", "dpmpp_2m_align_your_steps"),
        ("euler_ays", "euler_align_your_steps"),
        ("DPM++ 3M SDE Karras", "dpmpp_3m_sde_karras"),
        ("DPM++ SDE Karras", "dpmpp_sde_karras"),
        ("DPMSolverSinglestepScheduler", "dpmpp_2s"),
        ("DPM++ 2S a", "dpmpp_2s_a"),
        ("DPM++ 2S a Karras", "dpmpp_2s_a_karras"),
        ("k_dpmpp_2s_a", "dpmpp_2s_a"),
        ("uni_pc", "unipc"),
        ("UniPC beta", "unipc_beta"),
        ("DEISMultistepScheduler", "deis"),
        ("LCM", "lcm"),
        ("TCDScheduler", "tcd"),
        ("SA Solver", "sa_solver"),
        ("SASolverScheduler", "sa_solver"),
    ],
)
def test_names_of_other_tools_are_understood(text: str, meant: str) -> None:
    assert str(parse_sampler(text)) == meant


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_a_choice_is_called_means_that_choice(choice: SamplerChoice) -> None:
    assert parse_sampler(str(choice)) == choice
    assert parse_sampler(f"{spec_of(choice).label} {choice.schedule}") == choice


@settings(deadline=None)
@given(st.sampled_from(CHOICES), st.data())
def test_case_and_punctuation_make_no_difference(choice: SamplerChoice, data: st.DataObject) -> None:
    separators = data.draw(st.lists(st.sampled_from(["", " ", "_", "-", "."]), min_size=40, max_size=40))
    upper = data.draw(st.lists(st.booleans(), min_size=40, max_size=40))
    mangled = "".join(
        separator + (char.upper() if up else char)
        for char, separator, up in zip(str(choice), separators, upper, strict=False)
    )
    assert parse_sampler(mangled) == choice


def test_no_spelling_means_two_samplers() -> None:
    spellings = [(spelling, spec) for spec in SAMPLERS for spelling in (spec.name, spec.label, *spec.aliases)]
    for (text, spec), word in itertools.product(spellings, ["", " karras", " ka", " automatic"]):
        assert _name_in(f"{text}{word}") == spec.name


def test_an_unknown_sampler_gets_close_names_and_the_whole_list() -> None:
    with pytest.raises(UnknownSampler) as caught:
        parse_sampler("dpmp_2m_karas")
    message = str(caught.value)
    assert "Did you mean 'dpmpp_2m_karras'" in message
    assert all(spec.name in message for spec in SAMPLERS)


@pytest.mark.parametrize("text", ["", " ", "+", "karras", "euler karras beta", "x" * 1000, "\u6b27\u62c9"])
def test_nonsense_is_an_unknown_sampler(text: str) -> None:
    with pytest.raises(UnknownSampler, match="there is no sampler"):
        parse_sampler(text)


@pytest.mark.parametrize(
    "spec", [spec for spec in SAMPLERS if spec.schedules == ("model",)], ids=lambda spec: spec.name
)
def test_a_schedule_that_a_sampler_cannot_do_is_refused(spec: SamplerSpec) -> None:
    with pytest.raises(
        UnknownSampler, match=f"{spec.name!r} cannot be combined with schedule 'karras', only with: model$"
    ):
        parse_sampler(f"{spec.label} Karras")


@pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.name)
def test_who_cannot_do_zero_snr_warns_and_names_those_that_can(spec: SamplerSpec) -> None:
    warnings = _warnings(spec, ModelTraits(prediction_type="v_prediction", zero_snr=True))
    reported_position = [warning for warning in warnings if "zero terminal SNR" in warning]
    assert bool(reported_position) is not spec.zero_snr
    assert all(name in warning for warning in reported_position for name in zero_snr_samplers())


@pytest.mark.parametrize("spec", SAMPLERS, ids=lambda spec: spec.name)
def test_who_is_inexact_for_v_prediction_warns(spec: SamplerSpec) -> None:
    reported_position = [
        warning for warning in _warnings(spec, ModelTraits(prediction_type="v_prediction")) if "inexact" in warning
    ]
    assert bool(reported_position) is not spec.v_prediction
    assert _warnings(spec, ModelTraits()) == ()


def _name_in(text: str) -> str:
    """The sampler that `text` names, be its schedule possible or not."""
    try:
        return parse_sampler(text).name
    except UnknownSampler as error:
        return str(error).split("'")[1]


def _warnings(spec: SamplerSpec, traits: ModelTraits) -> tuple[str, ...]:
    model = ModelSpec(name=ModelName("demo"), source=Folder(path=Path("demo")), traits=traits)
    parameters = GenerationParameters(prompt="a red circle", sampler=spec.name)
    return resolve(parameters, model, Limits(), random_seed=1).warnings


@pytest.mark.parametrize(
    ("sampler", "schedule", "meant"),
    [
        ("euler", "karras", "euler_karras"),
        ("DPM++ 2M Karras", "karras", "dpmpp_2m_karras"),
        (None, "simple", "euler_simple"),
        ("DPM++ 2M Karras", None, "dpmpp_2m_karras"),
        ("euler", None, "euler"),
    ],
)
def test_the_schedule_comes_from_its_field_or_from_the_samplers_name(
    sampler: str | None, schedule: SigmaSchedule | None, meant: str
) -> None:
    parameters = GenerationParameters(prompt="x", sampler=sampler, schedule=schedule)
    assert str(resolve(parameters, MODEL, Limits(), random_seed=0).request.sampler) == meant


@pytest.mark.parametrize(
    ("sampler", "schedule", "message"),
    [
        (
            "DPM++ 2M Karras",
            "beta",
            "must be 'karras' or absent, because sampler 'DPM++ 2M Karras' says so, got 'beta'",
        ),
        ("ddim", "karras", "sampler 'ddim' cannot be combined with schedule 'karras', only with: model"),
    ],
)
def test_a_schedule_that_contradicts_the_sampler_is_refused(
    sampler: str, schedule: SigmaSchedule, message: str
) -> None:
    parameters = GenerationParameters(prompt="x", sampler=sampler, schedule=schedule)
    with pytest.raises(InvalidRequest) as caught:
        resolve(parameters, MODEL, Limits(), random_seed=0)
    assert [(error.field, error.message) for error in caught.value.errors] == [("schedule", message)]


def test_a_level_is_discarded_from_a_schedule_alone() -> None:
    def asked(sampler: str, schedule: SigmaSchedule | None) -> GenerationParameters:
        return GenerationParameters(prompt="x", sampler=sampler, schedule=schedule, discard_penultimate_sigma=True)

    for sampler, schedule in (("DPM2 Karras", None), ("dpm2", "karras")):
        found = resolve(asked(sampler, schedule), MODEL, Limits(), random_seed=0).request.sampler
        assert found == SamplerChoice(name="dpm2", schedule="karras", discard_penultimate=True)
    for sampler, schedule in (("dpm2", None), ("dpm2", "model"), ("ddim", None)):
        with pytest.raises(InvalidRequest, match="discard_penultimate_sigma: needs a schedule"):
            resolve(asked(sampler, schedule), MODEL, Limits(), random_seed=0)
