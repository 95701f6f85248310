"""Receipts: sending one asks for the same image again."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.models.spec import Folder, ModelName, ModelOverrides, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.metadata.image_metadata import (
    PARAMETERS_KEY,
    RECEIPT_KEY,
    Provenance,
    Receipt,
    image_facts,
    parameters_text,
)
from litestar_diffusion.domain.requests.parameters import MAX_SEED, GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.domain.requests.samplers import SAMPLERS

SPEC = ModelSpec(
    name=ModelName("demo"),
    source=Folder(path=Path("demo")),
    traits=ModelTraits(size_px=1024),
    version="v7",
    overrides=ModelOverrides(
        negative_prompt="blurry", sampler="unipc", clip_skip=1, guidance_scale=4.5, width=768, guidance_rescale=0.3
    ),
)
PROVENANCE = Provenance(model_version="v7", dtype="bfloat16", shared_steps=False, memory_savings=("tiled_decode",))
PICTURES = {
    "strength",
    "resize",
    "image_sha256",
    "mask_sha256",
    "mask_invert",
    "mask_blur_px",
    "mask_content",
    "mask_padding_px",
}
SAMPLER_NAMES = [f"{spec.name}_{sigmas}" for spec in SAMPLERS for sigmas in spec.schedules]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
SIZE = st.tuples(st.integers(0, 4096), st.integers(0, 4096))
ALL_BUT_DISCARD = st.builds(
    GenerationParameters,
    prompt=TEXT,
    negative_prompt=st.none() | TEXT,
    prompt_2=st.none() | TEXT,
    negative_prompt_2=st.none() | TEXT,
    num_inference_steps=st.none() | st.integers(1, 150),
    guidance_scale=st.none() | st.floats(0, 100),
    guidance_rescale=st.none() | st.floats(0, 1),
    width=st.none() | st.integers(8, 128).map(lambda units: 8 * units),
    height=st.none() | st.integers(8, 128).map(lambda units: 8 * units),
    seed=st.none() | st.integers(-1, MAX_SEED - 8),
    n=st.integers(1, 8),
    sampler=st.none() | st.sampled_from(SAMPLER_NAMES),
    clip_skip=st.none() | st.integers(0, 10),
    timestep_spacing=st.none() | st.sampled_from(["model", "leading", "linspace", "trailing"]),
    long_prompts=st.none() | st.booleans(),
    prompt_weighting=st.none() | st.booleans(),
    output_format=st.sampled_from(["png", "jpeg", "webp"]),
    output_quality=st.none() | st.integers(1, 100),
    original_size=st.none() | SIZE,
    crop=st.none() | SIZE,
    negative_target_size=st.none() | SIZE,
)
DISCARD = {"sampler": "dpm2", "schedule": "karras", "discard_penultimate_sigma": True}
PARAMETERS = ALL_BUT_DISCARD | ALL_BUT_DISCARD.map(lambda one: msgspec.structs.replace(one, **DISCARD))


@settings(deadline=None)
@given(PARAMETERS, st.data())
def test_sending_the_receipt_asks_for_the_same_image(parameters: GenerationParameters, data: st.DataObject) -> None:
    request = resolve(parameters, SPEC, Limits(), random_seed=77).request
    seed = data.draw(st.sampled_from(request.seeds))
    receipt = _receipt(request, seed)
    body = msgspec.convert(receipt.request, GenerationParameters)
    again = resolve(body, SPEC, Limits(), random_seed=0)
    quality = 95 if request.output_format == "png" else request.output_quality
    assert again.request == replace(request, seeds=(seed,), output_quality=quality)
    assert not any("have changed" in warning for warning in again.warnings)
    assert (receipt.model, receipt.model_version) == ("demo", "v7")


@pytest.mark.parametrize(
    "hires",
    [
        {},
        {"schedule": "exponential"},
        {"sampler": "dpm2_a_karras"},
        {"sampler": "euler", "discard_penultimate_sigma": False},
        {"schedule": "model"},
        {"sampler": "ddim"},
    ],
)
def test_sending_the_receipt_of_two_passes_asks_for_the_same_image(hires: dict[str, Any]) -> None:
    asked = GenerationParameters(prompt="x", hires=msgspec.convert(hires, Hires), **DISCARD)
    request = resolve(asked, SPEC, Limits(), random_seed=77).request
    body = msgspec.convert(_receipt(request, 77).request, GenerationParameters)
    assert resolve(body, SPEC, Limits(), random_seed=0).request == request


def test_a_receipt_of_the_models_own_vae_keeps_it_beside_one_of_the_sidecar() -> None:
    spec = replace(SPEC, overrides=ModelOverrides(vae="fine"))
    request = resolve(GenerationParameters(prompt="x", vae="model"), spec, Limits(), random_seed=1).request
    assert msgspec.convert(_receipt(request, 1).request, GenerationParameters).vae == "model"
    plain = resolve(GenerationParameters(prompt="x", vae="model"), SPEC, Limits(), random_seed=1).request
    assert "vae" not in _receipt(plain, 1).request


OVERRIDES = st.builds(
    ModelOverrides,
    sampler=st.none() | st.sampled_from(SAMPLER_NAMES),
    timestep_spacing=st.none() | st.sampled_from(["leading", "linspace", "trailing"]),
    num_inference_steps=st.none() | st.integers(1, 150),
    guidance_scale=st.none() | st.floats(0, 100),
    guidance_rescale=st.none() | st.floats(0, 1),
    negative_prompt=st.none() | TEXT,
    width=st.none() | st.integers(8, 128).map(lambda units: 8 * units),
    clip_skip=st.none() | st.integers(0, 10),
)
LIMITS = st.builds(Limits, reproducible=st.booleans(), long_prompts=st.booleans(), prompt_weighting=st.booleans())


@settings(deadline=None)
@given(PARAMETERS, OVERRIDES, LIMITS, OVERRIDES, LIMITS)
def test_a_receipt_replayed_under_other_settings_asks_for_the_same_image_and_warns_of_the_change(
    parameters: GenerationParameters, then: ModelOverrides, limits: Limits, now: ModelOverrides, other_limits: Limits
) -> None:
    request = resolve(parameters, replace(SPEC, overrides=then), limits, random_seed=77).request
    body = msgspec.convert(_receipt(request, request.seeds[0]).request, GenerationParameters)
    changed = replace(SPEC, overrides=now, version="v8")
    again = resolve(body, changed, other_limits, random_seed=0)
    quality = 95 if request.output_format == "png" else request.output_quality
    same = replace(request, seeds=request.seeds[:1], output_quality=quality, model_version="v8")
    assert again.request == same
    assert any("have changed since model_version 'v7', it is 'v8' now" in warning for warning in again.warnings)


@settings(deadline=None)
@given(PARAMETERS)
def test_the_receipt_warns_of_nothing_that_the_request_did_not(parameters: GenerationParameters) -> None:
    first = resolve(parameters, SPEC, Limits(), random_seed=77)
    body = msgspec.convert(_receipt(first.request, first.request.seeds[0]).request, GenerationParameters)
    unknown = set(resolve(body, SPEC, Limits(), random_seed=0).warnings) - set(first.warnings)
    assert all("negative_prompt has no effect" in warning for warning in unknown)  # it came from the model's defaults


def test_the_receipt_states_the_dtype_and_what_memory_cost_the_image() -> None:
    receipt = _receipt(_request(seed=10), 10)
    assert receipt.request["dtype"] == "bfloat16"
    assert receipt.memory_savings == ("tiled_decode",)


def test_the_receipt_states_every_parameter_and_n_is_1() -> None:
    request = _request(n=4, seed=10, output_format="webp")
    stated = _receipt(request, 12).request
    assert set(stated) == set(GenerationParameters.__struct_fields__) - {
        "priority",
        "previews",
        "callback_url",
        "embeddings",
        "image",
        "mask",
        "adapters",
        "vae",
        "vae_version",
        "hires",
        *PICTURES,
    }
    assert (stated["n"], stated["seed"], stated["sampler"]) == (1, 12, "unipc")


def test_the_parameters_text_names_the_level_that_was_left_out_as_the_web_ui_does() -> None:
    asked = GenerationParameters(prompt="x", sampler="dpm2", schedule="karras", discard_penultimate_sigma=True)
    text = parameters_text(resolve(asked, SPEC, Limits(), random_seed=1).request, 1, 2)
    assert "Sampler: DPM2, Schedule type: Karras, Discard penultimate sigma: True, " in text


def test_the_parameters_text_is_the_web_uis() -> None:
    request = _request(
        prompt="a red circle\non blue",
        negative_prompt="text, blur",
        sampler="DPM++ 2M Karras",
        guidance_scale=7.5,
        seed=0,
    )
    first, second, third, settings = parameters_text(request, 0, 2).split("\n")
    assert (first, second, third) == ("a red circle", "on blue", "Negative prompt: text, blur")
    assert settings.startswith(
        "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 0, Size: 768x1024, Model: demo, RNG: CPU, "
    )
    assert re.search(r"Version: litestar-diffusion \d+\.\d+\.\d+$", settings)


def test_without_a_negative_prompt_there_is_no_line_for_it() -> None:
    assert parameters_text(_request(negative_prompt=""), 1, 2).count("\n") == 1


@pytest.mark.parametrize("fmt", ["png", "jpeg", "webp"])
def test_the_web_uis_parser_reads_the_settings(fmt: OutputFormat) -> None:
    """Its pattern for one `name: value`, where a quoted value may hold commas and colons."""
    request = _request(prompt_2='say "hi", twice: \u732b', clip_skip=1, output_format=fmt)
    line = parameters_text(request, 5, 2).split("\n")[-1]
    pairs = dict(re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', line))
    assert pairs["Seed"] == "5"
    assert pairs["Clip skip"] == "3"
    assert msgspec.json.decode(pairs["Prompt 2"]) == 'say "hi", twice: \u732b'
    assert pairs["Version"].startswith("litestar-diffusion ")


def test_brackets_that_are_text_are_told_as_the_web_ui_tells_it() -> None:
    request = _request("a (red) circle")
    assert "Emphasis" not in parameters_text(request, 1, 2)
    assert "Emphasis: None" in parameters_text(replace(request, prompt_weighting=False), 1, 2)


def _request(
    prompt: str = "a red circle",
    *,
    negative_prompt: str | None = None,
    prompt_2: str | None = None,
    sampler: str | None = None,
    guidance_scale: float | None = None,
    clip_skip: int | None = None,
    seed: int = 1,
    n: int = 1,
    output_format: OutputFormat = "png",
) -> GenerationRequest:
    parameters = GenerationParameters(
        prompt=prompt,
        negative_prompt=negative_prompt,
        prompt_2=prompt_2,
        sampler=sampler,
        guidance_scale=guidance_scale,
        clip_skip=clip_skip,
        seed=seed,
        n=n,
        output_format=output_format,
    )
    return resolve(parameters, SPEC, Limits(), random_seed=77).request


def _receipt(request: GenerationRequest, seed: int) -> Receipt:
    facts = image_facts(request, seed=seed, provenance=PROVENANCE, clip_skip_base=2)
    assert list(facts) == [PARAMETERS_KEY, RECEIPT_KEY]
    return msgspec.json.decode(facts[RECEIPT_KEY], type=Receipt)
