"""Wrong fields: each is named once, all at the same time, and none at a length that harms."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.broken_limits import broken_limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.domain.validation import MAX_ERRORS, OTHER_NAMES, convert_all, respelled

SPEC = ModelSpec(
    name=ModelName("a"), source=Checkpoint(path=Path("a.safetensors")), traits=ModelTraits(size_px=1024), nbytes=1
)


def test_every_wrong_field_is_named_at_once_and_nothing_is_made_of_the_rest() -> None:
    body, errors = convert_all({"prompt": 5, "seed": "x", "n": 3, "stpes": 1}, GenerationParameters)
    assert body is None
    assert sorted(error.field for error in errors) == ["prompt", "seed", "stpes"]


@pytest.mark.parametrize("raw", [[], "text", None, 5])
def test_a_body_that_is_no_object_is_one_error(raw: object) -> None:
    body, errors = convert_all(raw, GenerationParameters)
    assert (body, [error.field for error in errors]) == (None, ["body"])


def test_thousands_of_wrong_fields_are_counted_and_a_few_are_named() -> None:
    raw = {f"{'k' * 100}{index}": 1 for index in range(70_000)}
    _, errors = convert_all(raw, GenerationParameters)
    assert len(errors) == MAX_ERRORS + 1
    assert errors[-1].message == f"and {70_000 - MAX_ERRORS + 1} more fields are wrong", "the missing prompt is one"
    assert max(len(error.field) for error in errors) <= 61, "long names are cut"


class Loud:
    """Counts how often it is shown."""

    shown = 0

    def __repr__(self) -> str:
        Loud.shown += 1
        return "Loud"


def test_of_a_long_list_in_the_wrong_place_only_the_first_elements_are_looked_at() -> None:
    _, errors = convert_all({"prompt": [Loud() for _ in range(10_000)]}, GenerationParameters)
    assert errors[0].message.startswith("expected str, got [Loud, Loud,")
    assert Loud.shown < 20


@pytest.mark.parametrize("field", ["width", "height", "n", "num_inference_steps"])
def test_a_number_whose_product_is_too_long_to_be_shown_is_refused_when_decoded(field: str) -> None:
    _, errors = convert_all({"prompt": "x", field: 10**4200}, GenerationParameters)
    assert [error.field for error in errors] == [field]
    assert len(errors[0].message) < 200


@pytest.mark.parametrize("field", ["sampler", "priority", "output_format", "prompt_3"])
def test_a_long_value_or_name_from_outside_is_cut_before_it_is_shown(field: str) -> None:
    body, errors = convert_all({"prompt": "x", field: "x" * 900_000}, GenerationParameters)
    if body is not None:
        errors = broken_limits(body, SPEC, Limits())
    assert [error.field for error in errors] == [field]
    assert len(str(errors[0])) < 1000


def test_before_its_files_are_there_only_what_is_stated_about_a_model_is_checked() -> None:
    unknown = replace(SPEC, nbytes=None)
    small = Limits(max_pixels=512 * 512, max_steps=10)
    assert broken_limits(GenerationParameters(prompt="x"), unknown, small) == []
    stated = GenerationParameters(prompt="x", width=60, num_inference_steps=11, sampler="?")
    assert [error.field for error in broken_limits(stated, unknown, small)] == [
        "num_inference_steps",
        "width",
        "sampler",
    ]


def test_every_broken_limit_is_named_and_none_of_a_good_request() -> None:
    wild = GenerationParameters(
        prompt="x" * 11, num_inference_steps=9, n=5, width=60, height=4104, sampler="?", seed=2**64 - 2
    )
    limits = Limits(max_prompt_chars=10, max_steps=8, max_n=4)
    named = [error.field for error in broken_limits(wild, SPEC, limits)]
    assert named == ["prompt", "num_inference_steps", "n", "seed", "width", "height", "sampler"]
    assert broken_limits(GenerationParameters(prompt="x"), SPEC, Limits()) == []


def test_the_models_own_defaults_are_held_to_the_limits_too() -> None:
    assert [
        error.field for error in broken_limits(GenerationParameters(prompt="x"), SPEC, Limits(max_pixels=512 * 512))
    ] == ["width"]


def test_how_prompts_are_read_is_the_requests_choice_and_else_the_settings() -> None:
    def read(limits: Limits, **said: bool) -> tuple[bool, bool]:
        request = resolve(GenerationParameters(prompt="x", **said), SPEC, limits, random_seed=0).request
        return request.long_prompts, request.prompt_weighting

    off = Limits(long_prompts=False, prompt_weighting=False)
    assert read(Limits()) == (True, True)
    assert read(off) == (False, False)
    assert read(Limits(), long_prompts=False) == (False, True)
    assert read(off, prompt_weighting=True) == (False, True)


class Choice(msgspec.Struct):
    """One of a few words."""

    read: Literal["auto", "plain"] | None = None


def test_a_word_that_is_none_of_those_allowed_is_told_them() -> None:
    _, errors = convert_all({"read": "fast"}, Choice)
    assert [error.message for error in errors] == ["must be one of 'auto', 'plain', got 'fast'"]


@pytest.mark.parametrize(
    ("value", "meant"), [("Auto", "auto"), (" PLAIN ", "plain"), ("fast", "fast"), (5, 5), (None, None)]
)
def test_case_and_blanks_make_no_other_word(value: object, meant: object) -> None:
    declared = msgspec.structs.fields(Choice)[0].type
    assert respelled(value, declared) == meant


def test_a_type_may_list_other_names_of_its_words() -> None:
    declared = Annotated[Literal["jpeg", "png"], msgspec.Meta(extra={OTHER_NAMES: {"jpg": "jpeg"}})]
    assert [respelled(value, declared) for value in ("JPG", "Png", "gif")] == ["jpeg", "png", "gif"]
    assert respelled("jpg" * 1000, declared) == "jpg" * 1000


def test_a_text_among_numbers_stays_what_it_is() -> None:
    assert respelled("AAA", Literal[0, 1]) == "AAA"


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("steps", "'num_inference_steps'"),
        ("cfg", "'guidance_scale'"),
        ("num_images", "'n'"),
        ("size", "'width' and 'height'"),
        ("CFG_scale", "'guidance_scale'"),
        ("heigth", "'height'"),
    ],
)
def test_names_of_other_programs_are_answered_with_ours(key: str, hint: str) -> None:
    _, errors = convert_all({"prompt": "x", key: 1}, GenerationParameters)
    assert [error.field for error in errors] == [key]
    assert f"Did you mean {hint}?" in errors[0].message


def test_a_spacing_that_does_not_exist_is_told_all_that_do() -> None:
    _, errors = convert_all({"prompt": "x", "timestep_spacing": "even"}, GenerationParameters)
    assert errors[0].message == "must be one of 'leading', 'linspace', 'trailing', 'model', got 'even'"


def test_a_pair_that_is_none_is_shown_as_it_came() -> None:
    _, errors = convert_all({"prompt": "x", "crop": [512]}, GenerationParameters)
    assert errors[0].message == "expected array of length 2, got [512]"
