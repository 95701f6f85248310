"""Prompts on real text encoders: short ones as ever, long ones whole, weighted ones changed, cached ones the same."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from litestar_diffusion.domain.models.components import ComponentId
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.prompt_cache import EncodedPrompt, PromptCache, PromptKey
from litestar_diffusion.infra.diffusion.tokenization import MAX_CHUNKS, tokens_of
from litestar_diffusion.infra.sdxl import text as texts
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from tests.infra.engine.one_engine import networks_of, one_engine
from tests.infra.sdxl.test_render import MODELS, ignore, request, spec_of
from tests.render import render

PROMPT = "a red circle on a blue background"
LONG = "a red circle, " * 40
"""160 tokens: three chunks."""
FIELDS = ("sequence", "pooled")


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    return load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


@pytest.fixture(autouse=True)
def empty_cache(model: SdxlModel) -> None:
    model.prompts = PromptCache()


@dataclass
class Encoded:
    """Rows of a prompt that does not change, and what was told of it."""

    sequence: Tensor
    pooled: Tensor
    warnings: tuple[str, ...]


def encode(model: SdxlModel, **parameters: Any) -> Encoded:
    with torch.inference_mode():
        asked = request(spec_of(), **{"guidance_scale": 1.0, "prompt": PROMPT, **parameters})
        scheduled = texts.encode(model, asked)
        rows = scheduled.of_stretch(0)
    return Encoded(rows.sequence, rows.pooled, scheduled.warnings)


def plain(model: SdxlModel, prompt: str, layer: int = -2) -> tuple[Tensor, Tensor]:
    """Both encoders as diffusers' pipeline calls them."""
    with torch.inference_mode():
        read: list[Any] = [
            encoder(
                tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids,
                output_hidden_states=True,
            )
            for tokenizer, encoder in (
                (model.tokenizer, model.text_encoder),
                (model.tokenizer_2, model.text_encoder_2),
            )
        ]
    return torch.cat([each.hidden_states[layer] for each in read], dim=-1), read[1].text_embeds


def same(one: Encoded, other: Encoded) -> bool:
    return all(torch.equal(getattr(one, field), getattr(other, field)) for field in FIELDS)


def chunks(model: SdxlModel, prompt: str, **options: bool) -> list[str]:
    """The texts of the chunks, without what stands around them."""
    tokens = tokens_of(model.tokenizer, prompt, **{"weighting": True, "long": True, **options})
    assert all(len(chunk.ids) == len(chunk.weights) == 77 for chunk in tokens.chunks)
    return [str(model.tokenizer.decode(chunk.ids, skip_special_tokens=True)) for chunk in tokens.chunks]


@pytest.mark.parametrize("prompt", ["", PROMPT, "red " * 75, "a" * 60, "красный круг 猫 🐈, e\u0301t\u00e9"])
@pytest.mark.parametrize("clip_skip", [0, 1])
@pytest.mark.parametrize("flag", [True, False])
def test_a_prompt_that_fits_is_encoded_as_by_diffusers_bit_for_bit(
    model: SdxlModel, prompt: str, clip_skip: int, flag: bool
) -> None:
    found = encode(model, prompt=prompt, clip_skip=clip_skip, long_prompts=flag, prompt_weighting=flag)
    sequence, pooled = plain(model, prompt, layer=-2 - clip_skip)
    assert torch.equal(found.sequence, sequence)
    assert torch.equal(found.pooled, pooled)
    assert found.warnings == ()


def test_a_negative_prompt_is_the_first_row(model: SdxlModel) -> None:
    found = encode(model, negative_prompt="a green star", guidance_scale=3.0)
    for row, prompt in enumerate(("a green star", PROMPT)):
        sequence, pooled = plain(model, prompt)
        assert torch.equal(found.sequence[row : row + 1], sequence)
        assert torch.equal(found.pooled[row : row + 1], pooled)


def test_what_stands_late_in_a_long_prompt_changes_the_embedding_and_the_image(model: SdxlModel) -> None:
    ends = ("on a blue background", "on a green background")
    found = [encode(model, prompt=LONG + end) for end in ends]
    assert [each.sequence.shape[1] for each in found] == [3 * 77] * 2
    assert torch.equal(found[0].sequence[:, :154], found[1].sequence[:, :154])
    assert not torch.equal(found[0].sequence[:, 154:], found[1].sequence[:, 154:])
    assert torch.equal(found[0].pooled, found[1].pooled), "it comes from the first chunk"
    assert found[0].warnings == ()
    images = [
        render(model, request(spec_of(), prompt=LONG + end, num_inference_steps=2), ignore).images for end in ends
    ]
    assert images[0] != images[1]


def test_switched_off_a_long_prompt_is_cut_as_diffusers_cuts_it_and_that_is_told(model: SdxlModel) -> None:
    found = encode(model, prompt=LONG + "zebra", long_prompts=False)
    assert torch.equal(found.sequence, plain(model, LONG)[0])
    (warning,) = found.warnings
    assert warning.startswith("prompt is ")
    assert "75 fit" in warning
    assert "zebra" in warning


def test_a_chunk_ends_at_a_comma_that_is_near_its_end(model: SdxlModel) -> None:
    first, second = chunks(model, "red " * 60 + ", " + "blue " * 30)
    assert first.split() == ["red"] * 60 + [","]
    assert second.split() == ["blue"] * 30


def test_a_comma_far_from_the_end_of_a_chunk_does_not_end_it(model: SdxlModel) -> None:
    assert [len(chunk.split()) for chunk in chunks(model, "red " * 50 + ", " + "blue " * 40)] == [75, 16]


@pytest.mark.parametrize(("before", "first"), [(54, 75), (55, 56), (74, 75), (75, 75)])
def test_near_means_one_of_the_last_twenty_tokens(model: SdxlModel, before: int, first: int) -> None:
    """A comma that is the first not to fit begins the next chunk, as in the web UI."""
    assert len(chunks(model, "red " * before + ", " + "blue " * 40)[0].split()) == first


def test_break_begins_a_chunk_and_is_a_word_when_long_prompts_are_off(model: SdxlModel) -> None:
    found = encode(model, prompt="a red circle BREAK on a blue background BREAK")
    parts = [plain(model, part) for part in ("a red circle", "on a blue background")]
    assert torch.equal(found.sequence, torch.cat([sequence for sequence, _ in parts], dim=1))
    assert torch.equal(found.pooled, parts[0][1])
    assert torch.equal(encode(model, prompt="a BREAK b", long_prompts=False).sequence, plain(model, "a break b")[0])


def test_whatever_is_shorter_goes_on_with_empty_chunks(model: SdxlModel) -> None:
    found = encode(model, prompt=LONG, prompt_2="a star", negative_prompt="green", guidance_scale=3.0)
    count = found.sequence.shape[1] // 77
    assert found.sequence.shape[0] == 2
    assert count == 3
    width, empty = model.text_encoder.config.hidden_size, plain(model, "")[0]
    assert torch.equal(found.sequence[:1], torch.cat([plain(model, "green")[0], empty, empty], dim=1))
    assert torch.equal(found.sequence[1:, :, width:][:, 77:], torch.cat([empty, empty], dim=1)[..., width:])
    assert torch.equal(found.pooled[1:], plain(model, "a star")[1])


def test_an_empty_negative_prompt_that_stands_for_zeros_has_as_many_of_them(model: SdxlModel) -> None:
    assert model.zero_empty_negative
    found = encode(model, prompt=LONG, guidance_scale=3.0)
    assert found.sequence.shape[:2] == (2, 3 * 77)
    assert not found.sequence[0].any()
    assert not found.pooled[0].any()


def test_a_prompt_beyond_the_last_chunk_is_cut_with_a_warning(model: SdxlModel) -> None:
    found = encode(model, prompt="red circle, " * 240 + "zebra", prompt_2="a star")
    assert found.sequence.shape[1] == MAX_CHUNKS * 77
    (warning,) = found.warnings
    assert "prompt is " in warning
    assert f"{MAX_CHUNKS} chunks" in warning
    assert "zebra" in warning


def test_weights_of_one_change_no_bit(model: SdxlModel) -> None:
    assert same(encode(model, prompt="a (red:1.0) [(circle)] on a blue background"), encode(model))


def test_a_weight_acts_on_its_own_word_and_the_mean_stays(model: SdxlModel) -> None:
    """Beside the others, the weighted token is as much larger as its weight says; they keep their directions."""
    width = model.text_encoder.config.hidden_size
    red = 2  # after the start token and "a"
    for part in (slice(None, width), slice(width, None)):
        before = encode(model).sequence[0, :, part]
        share = (before[red].norm() / before[red + 1 :].norm()).item()
        for weight in (0.0, 0.5, 1.5, 3.0):
            found = encode(model, prompt=f"a (red:{weight}) circle on a blue background").sequence[0, :, part]
            assert found.mean().item() == pytest.approx(before.mean().item(), abs=1e-5)
            others = torch.cosine_similarity(found, before, dim=-1)
            torch.testing.assert_close(others[red + 1 :], torch.ones_like(others[red + 1 :]))
            grown = (found[red].norm() / found[red + 1 :].norm()).item() / share
            assert grown == pytest.approx(weight, rel=1e-3)


def test_weights_do_not_touch_the_pooled_embedding(model: SdxlModel) -> None:
    assert torch.equal(encode(model, prompt="a (red:1.5) circle").pooled, plain(model, "a red circle")[1])


def test_weighted_images_differ_and_a_prompt_switched_off_is_taken_literally(model: SdxlModel) -> None:
    weighted, off = (
        [
            render(model, request(spec_of(), prompt=prompt, num_inference_steps=2, prompt_weighting=flag), ignore)
            for prompt in (PROMPT, "a red circle on a (blue:1.6) background")
        ]
        for flag in (True, False)
    )
    assert weighted[0].images == off[0].images
    assert len({result.images[0].pixels for result in (*weighted, off[1])}) == 3
    literal = encode(model, prompt="a (red:1.5) circle", prompt_weighting=False)
    assert torch.equal(literal.sequence, plain(model, "a (red:1.5) circle")[0])
    assert literal.warnings == ()


def test_weights_too_large_are_told(model: SdxlModel) -> None:
    found = encode(model, prompt="a (red:50) circle", negative_prompt="(green:99)", guidance_scale=3.0)
    assert [warning.split(" has weights beyond 10")[0] for warning in found.warnings] == ["prompt", "negative_prompt"]
    assert found.sequence.isfinite().all()


def test_a_mean_that_would_turn_over_is_left_alone(model: SdxlModel) -> None:
    """Else the quotient of the means would turn the whole text into its opposite."""
    found = encode(model, prompt=f"({PROMPT}:10)").sequence
    assert (found[0, 0, :64] * plain(model, PROMPT)[0][0, 0, :64]).sum() > 0


def test_the_same_prompt_is_encoded_once_and_is_the_same_bit_for_bit(
    model: SdxlModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {
        "prompt": LONG + "(zebra:1.3)" + "x, " * 400,
        "negative_prompt": "green",
        "guidance_scale": 3.0,
    }
    fresh = encode(model, **asked)
    with monkeypatch.context() as without_encoders:
        without_encoders.setattr(type(model.text_encoder), "forward", _refuse)
        without_encoders.setattr(type(model.text_encoder_2), "forward", _refuse)
        again = encode(model, **asked)
        turned = encode(model, **asked | {"negative_prompt": asked["prompt"], "prompt": "green"})
        with pytest.raises(AssertionError, match="encoded"):
            encode(model, **asked | {"clip_skip": 1})
        with pytest.raises(AssertionError, match="encoded"):
            encode(model, **asked | {"prompt_weighting": False})
        with pytest.raises(AssertionError, match="encoded"):
            encode(model, **asked | {"long_prompts": False})
    assert same(fresh, again)
    assert fresh.warnings == again.warnings != ()
    assert torch.equal(turned.sequence.flip(0), fresh.sequence), "either side may find what the other has encoded"


def _refuse(*_: Any, **__: Any) -> None:
    raise AssertionError("a text was encoded")


def test_writing_to_a_conditioning_does_not_reach_the_cache(model: SdxlModel) -> None:
    first = encode(model)
    kept = Encoded(first.sequence.clone(), first.pooled.clone(), ())
    with torch.inference_mode():
        first.sequence.zero_()
        first.pooled.zero_()
    assert same(encode(model), kept)


def test_the_cache_is_on_the_host_within_its_bytes_and_forgets_the_least_recently_used() -> None:
    cache = PromptCache(max_nbytes=3000)
    keys = [_key(str(index)) for index in range(4)]
    for key in keys[:3]:
        cache.put(key, _encoded(1000))
    assert cache.nbytes == 3000
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], _encoded(1000))
    assert cache.nbytes == 3000
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    cache.put(keys[0], _encoded(500))
    assert (cache.nbytes, len(cache)) == (2500, 3)
    cache.put(_key("huge"), _encoded(3001))
    assert (cache.nbytes, len(cache)) == (2500, 3), "it would drive everything else out"
    assert all(kept.hidden.device.type == "cpu" for key in keys if (kept := cache.get(key)))


def test_a_cache_of_no_bytes_keeps_nothing(model: SdxlModel) -> None:
    model.prompts = PromptCache(max_nbytes=0)
    assert same(encode(model), encode(model))
    assert len(model.prompts) == 0


def _key(text: str) -> PromptKey:
    return PromptKey(encoder=ComponentId("e"), text=text, layer=-2, weighting=True, long=True)


def _encoded(nbytes: int) -> EncodedPrompt:
    return EncodedPrompt(hidden=torch.zeros(nbytes, dtype=torch.uint8), pooled=None, ignored=())


def test_the_engine_gives_each_model_a_cache_of_the_size_in_the_settings() -> None:
    async def loaded(nbytes: int) -> Any:
        engine = one_engine(device="cpu", dtype="float32", threads=0, fetch=_refuse, prompt_cache_nbytes=nbytes)
        await engine.start()
        try:
            return await engine.loader.load(spec_of(), ignore)
        finally:
            await engine.stop()

    assert networks_of(asyncio.run(loaded(12345))).prompts.max_nbytes == 12345
