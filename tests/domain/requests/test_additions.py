"""Adapters and a VAE of a request: where they are named, what their weights are, and what is said of them afterwards."""

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from litestar_diffusion.domain.errors import InvalidRequest, UnknownAdapter, UnknownVae, UnusableAdapter, UnusableVae
from litestar_diffusion.domain.models.adapters import AdapterChoice, AdapterSpec
from litestar_diffusion.domain.models.spec import ModelName, ModelOverrides, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.additions import find_additions
from litestar_diffusion.domain.requests.metadata.image_metadata import Provenance, parameters_text, receipt
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import Resolved
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import FakeCatalogue, adapter, fake_catalogues, model, vae

SPEC = model("demo", traits=ModelTraits(family="sdxl", size_px=64))
INK, OUTLINE = adapter("ink"), adapter("Outline Style")


def resolved(spec: ModelSpec = SPEC, known: tuple[AdapterSpec, ...] = (INK, OUTLINE), **body: Any) -> Resolved:
    parameters = msgspec.convert({"prompt": "a circle", **body}, GenerationParameters)
    limits = Limits(max_adapters=3)
    catalogues = fake_catalogues(FakeCatalogue([spec]), known, [vae("anime"), vae("other", family="toy")])

    async def scenario() -> Resolved:
        additions = await find_additions(parameters, spec, limits, catalogues)
        return resolve(parameters, spec, limits, random_seed=1, additions=additions)

    return asyncio.run(scenario())


def weights(found: Resolved) -> list[tuple[str, float, float]]:
    return [(use.name, use.weight, use.text_weight) for use in found.request.assets.adapters]


def preset(*adapters: AdapterChoice, vae: str | None = None) -> ModelSpec:
    overrides = ModelOverrides(adapters=adapters, vae=vae)
    return replace(SPEC, name=ModelName("my-style"), overrides=overrides)


def refusal(**body: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        resolved(**body)
    return str(caught.value)


def replayed(found: Resolved, spec: ModelSpec = SPEC, **changed: Any) -> Resolved:
    made = receipt(found.request, seed=1, provenance=Provenance(model_version="1", dtype="", shared_steps=False))
    return resolved(spec, **{**made.request, **changed})


def test_the_field_and_the_prompt_name_adapters_and_tags_leave_the_text() -> None:
    found = resolved(adapters=[{"name": "ink", "weight": 0.5}], prompt="a circle <lora:outline style:0.2:0.3>")
    assert weights(found) == [("ink", 0.5, 0.5), ("Outline Style", 0.3, 0.2)]
    assert found.request.prompt == found.request.prompt_2 == "a circle"
    assert found.warnings == ()


def test_a_text_weight_is_the_weight_by_default_and_names_are_found_in_any_case() -> None:
    found = resolved(adapters=[{"name": "INK"}, {"name": "outline style", "weight": -0.5, "text_weight": 0}])
    assert weights(found) == [("ink", 1, 1), ("Outline Style", -0.5, 0)]


def test_weights_of_one_adapter_add_up_and_the_answer_says_so() -> None:
    found = resolved(prompt="<lora:ink:0.3> a circle <lora:INK:0.4>", adapters=[{"name": "Ink", "weight": 0.2}])
    assert weights(found) == [("ink", 0.9, 0.9)]
    assert found.warnings == ("Adapter 'ink' is named 3 times: its weights were added up.",)


def test_a_weight_of_zero_means_unused() -> None:
    assert weights(resolved(adapters=[{"name": "ink", "weight": 0}])) == []
    assert weights(resolved(adapters=[{"name": "ink", "weight": 0, "text_weight": 1}])) == [("ink", 0, 1)]
    assert weights(resolved(prompt="<lora:ink:1><lora:ink:-1>")) == []


def test_a_tag_of_the_second_prompt_counts_unless_the_first_has_it() -> None:
    both = resolved(prompt="a <lora:ink:0.5>", prompt_2="b <lora:ink:0.5> <lora:outline style:1>")
    assert weights(both) == [("ink", 0.5, 0.5), ("Outline Style", 1, 1)]
    assert (both.request.prompt, both.request.prompt_2) == ("a", "b")


def test_tags_are_read_without_prompt_weighting_too_and_not_in_the_negative_prompt() -> None:
    found = resolved(prompt="a (b) <lora:ink:1>", prompt_weighting=False, negative_prompt="ugly <lora:ink:1>")
    assert weights(found) == [("ink", 1, 1)]
    assert found.request.negative_prompt == "ugly <lora:ink:1>"
    assert any("not in the negative prompt" in warning for warning in found.warnings)


def test_unknown_and_unusable_ones_are_told_by_name() -> None:
    with pytest.raises(UnknownAdapter, match="Did you mean 'Outline Style'"):
        resolved(prompt="<lora:outlin style:1>")
    broken = replace(INK, unusable="it is for Flux.")
    with pytest.raises(UnusableAdapter, match=r"Adapter 'ink' cannot be used: it is for Flux\."):
        resolved(known=(broken,), prompt="<lora:ink:1>")
    with pytest.raises(UnknownVae, match="'nope'"):
        resolved(vae="nope")


def test_one_for_another_family_is_refused_with_both() -> None:
    foreign = replace(SPEC, traits=ModelTraits(family="toy", size_px=64))
    with pytest.raises(UnusableAdapter, match="it is for SDXL models, and 'demo' is"):
        resolved(foreign, prompt="<lora:ink:1>")
    with pytest.raises(UnusableVae, match="'demo' is a SDXL model"):
        resolved(vae="other")


def test_limits_are_told_with_their_setting() -> None:
    with pytest.raises(msgspec.ValidationError, match="weight"):
        resolved(adapters=[{"name": "ink", "weight": 11}])
    assert "'ink' add up to more than 10" in refusal(prompt="<lora:ink:6> <lora:ink:6>")
    assert "'<lora:ink:x>'" in refusal(prompt="<lora:ink:x>")
    many = "".join(f"<lora:{name}:1>" for name in "abcd")
    assert "at most 3 (limits.max_adapters)" in refusal(prompt=many)


def test_a_preset_brings_its_adapters_and_a_request_changes_their_weights() -> None:
    spec = preset(AdapterChoice(name="ink", weight=0.8))
    assert weights(resolved(spec)) == [("ink", 0.8, 0.8)]
    assert weights(resolved(spec, prompt="<lora:ink:0.5><lora:outline style:1>")) == [
        ("ink", 0.5, 0.5),
        ("Outline Style", 1, 1),
    ]
    assert weights(resolved(spec, adapters=[{"name": "ink", "weight": 0}])) == []


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "a <lora:ink:0.3> b"},
        {"prompt": "a", "adapters": [{"name": "ink", "weight": 2, "text_weight": 0.1}]},
        {"prompt": "a", "adapters": [{"name": "ink", "weight": 0}]},
        {"prompt": "a"},
        {"prompt": "a <lora:Outline Style:1>", "vae": "model"},
        {"prompt": "a", "vae": "anime"},
    ],
)
@pytest.mark.parametrize("spec", [SPEC, preset(AdapterChoice(name="ink", weight=0.8))])
def test_a_receipt_replays_to_the_same_request_without_a_warning(spec: ModelSpec, body: dict[str, Any]) -> None:
    found = resolved(spec, **body, seed=1)
    again = replayed(found, spec)
    assert again.request == found.request
    assert again.warnings == ()


def test_a_changed_file_is_a_warning_on_replay() -> None:
    found = resolved(prompt="a <lora:ink:1>", vae="anime")
    again = replayed(found, known=(replace(INK, version="2"),), vae_version="0")
    assert [warning.split(" since ")[0] for warning in again.warnings] == [
        "The file of adapter 'ink' has changed",
        "The file of VAE 'anime' has changed",
    ]


def test_the_sidecars_vae_is_used_unless_the_request_says_otherwise() -> None:
    spec = preset(vae="anime")
    used = [resolved(spec, **body).request.assets.vae for body in ({}, {"vae": "model"}, {"vae": "ANIME"})]
    assert [each and each.name for each in used] == ["anime", None, "anime"]


def test_the_text_of_the_web_ui_has_tags_and_hashes_of_all_adapters() -> None:
    found = resolved(
        prompt="a circle <lora:ink:0.5:1>", adapters=[{"name": "outline style", "weight": 0.25}], vae="anime"
    )
    first, last = parameters_text(found.request, 1, 2).split("\n")
    assert first == "a circle <lora:Outline Style:0.25> <lora:ink:0.5:1>"
    assert 'Lora hashes: "Outline Style: 1, ink: 1"' in last
    assert "VAE: anime" in last
    assert weights(resolved(prompt=first)) == weights(found)
