"""Wrong fields: each is named once, and the rest can still be looked at."""

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolution import broken_limits, resolve
from litestar_diffusion.domain.validation import convert_all, convert_rest

SPEC = ModelSpec(name=ModelName("a"), source=Checkpoint(path=Path("a.safetensors")), traits=ModelTraits())


def rest_of(raw: object) -> GenerationParameters | None:
    _, errors = convert_all(raw, GenerationParameters)
    return convert_rest(raw, GenerationParameters, errors)


def test_what_is_left_of_a_body_keeps_its_right_fields() -> None:
    rest = rest_of({"prompt": 5, "seed": "x", "n": 3, "stpes": 1, "width": 64})
    assert rest == GenerationParameters(prompt="", n=3, width=64)


@pytest.mark.parametrize("raw", [[], "text", None, 5])
def test_of_what_is_no_object_nothing_is_left(raw: object) -> None:
    assert rest_of(raw) is None


def test_every_broken_limit_is_named_and_none_of_a_good_request() -> None:
    wild = GenerationParameters(
        prompt="x" * 11, num_inference_steps=9, n=5, width=60, height=4104, sampler="?", seed=2**63 - 2
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
