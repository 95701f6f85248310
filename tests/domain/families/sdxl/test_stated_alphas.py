"""Alphas of PEFT's configs, as PEFT and diffusers write them beside or into an adapter's file."""

import json
from typing import Any

import pytest

from litestar_diffusion.domain.families.reading import NotServable
from litestar_diffusion.domain.families.sdxl.adapter_files import layer_patterns
from litestar_diffusion.domain.families.sdxl.adapter_files.stated_alphas import StatedAlphas, read_stated_alphas

KEY = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
QUERY = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q"


def in_the_header(**fields: Any) -> StatedAlphas:
    return read_stated_alphas({"lora_adapter_metadata": json.dumps(fields)}, lambda _: None)


def beside_the_file(**fields: Any) -> StatedAlphas:
    return read_stated_alphas({}, lambda _: json.dumps(fields).encode())


def test_a_pipeline_states_the_alphas_of_each_component() -> None:
    stated = in_the_header(**{"unet.lora_alpha": 16, "text_encoder.lora_alpha": 2})
    alphas = [stated.alpha(component, KEY) for component in ("unet", "text_encoder", "text_encoder_2")]
    assert alphas == [16, 2, None]


def test_a_unet_that_is_saved_alone_states_its_alpha_without_a_component() -> None:
    stated = in_the_header(r=4, lora_alpha=16, use_rslora=True)
    assert (stated.alpha("unet", KEY), stated.numbers) == (16, (16,))
    assert stated.rank_stabilised("unet")


@pytest.mark.parametrize(
    ("pattern", "alphas"),
    [
        ("attn2.to_k", (64, 8)),
        ("to_k", (64, 8)),
        (f"^{KEY}", (64, 8)),
        ("^attn2.to_k", (8, 8)),
        ("o_k", (8, 8)),
        ("attn..to_k", (64, 8)),
        (r".*attn2\.to_k", (64, 8)),
        (r"attn\d.to_(k|v)", (64, 8)),
        (r"^down_blocks\..*", (64, 64)),
    ],
)
def test_a_pattern_is_matched_as_peft_matches_it(pattern: str, alphas: tuple[float, float]) -> None:
    stated = beside_the_file(lora_alpha=8, alpha_pattern={pattern: 64})
    assert (stated.alpha("unet", KEY), stated.alpha("unet", QUERY)) == alphas


def test_the_first_pattern_that_fits_counts() -> None:
    patterns = {"to_v": 1, r".*to_k": 2, "to_k": 3, "attn2.to_q": 4}
    stated = beside_the_file(lora_alpha=8, alpha_pattern=patterns)
    assert (stated.alpha("unet", KEY), stated.alpha("unet", QUERY)) == (2, 4)
    assert stated.numbers == (1, 2, 3, 4, 8)


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("(to_k", "alpha_pattern has '\\(to_k', which is no regular expression"),
        ("a" * 257 + "+", "258 characters, the limit is 256"),
    ],
)
def test_a_pattern_that_is_not_served_is_named(pattern: str, told: str) -> None:
    with pytest.raises(NotServable, match=told):
        beside_the_file(lora_alpha=8, alpha_pattern={pattern: 64})


def test_an_expression_that_would_keep_a_matcher_busy_for_hours_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer_patterns, "_MOST_S", 0.05)
    stated = beside_the_file(lora_alpha=8, alpha_pattern={r"(\w|\w)*x": 64})
    with pytest.raises(NotServable, match="take longer than"):
        stated.alpha("unet", f"x{'a' * 60}c!")


def test_hundreds_of_names_are_served_and_hundreds_of_expressions_are_not() -> None:
    names = {f"^down_blocks.{index}.to_k": index for index in range(1000)}
    assert beside_the_file(alpha_pattern=names).alpha("unet", "down_blocks.900.to_k") == 900
    with pytest.raises(NotServable, match="1000 regular expressions, the limit is 64"):
        beside_the_file(alpha_pattern={f"{name}.*": alpha for name, alpha in names.items()})


@pytest.mark.parametrize("kind", ["LOHA", "LOKR"])
def test_loha_and_lokr_of_peft_state_their_alpha_by_its_plain_name(kind: str) -> None:
    stated = beside_the_file(peft_type=kind, r=4, alpha=16, alpha_pattern={"to_k": 2})
    assert (stated.alpha("unet", KEY), stated.alpha("unet", QUERY), stated.numbers) == (2, 16, (2, 16))


def test_the_rank_of_a_lokr_of_peft_is_stated() -> None:
    stated = beside_the_file(peft_type="LOKR", r=4, alpha=16, rank_pattern={"to_k": 2})
    assert (stated.rank("unet", KEY), stated.rank("unet", QUERY)) == (2, 4)
    assert beside_the_file(peft_type="LORA", r=4, rank_pattern={"(a+)+": 2}).rank("unet", KEY) is None
