"""Prompts that change at a step or consist of parts, by their pictures; the rest of a batch does not notice them."""

import functools
from typing import Any

import numpy as np
import pytest
import torch

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.samplers import build_sampler, start, steps_of_evaluations
from litestar_diffusion.infra.sdxl.latents.decode import decode
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from litestar_diffusion.infra.sdxl.text import encode
from tests.infra.sdxl.test_render import MODELS, ignore, pixels, request, spec_of
from tests.render import render

CIRCLE, SQUARE = "a red circle on a white background", "a blue square on a white background"
LONG = "a red circle, " * 40


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    return load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


def asked(prompt: str, **parameters: Any) -> GenerationRequest:
    small = {"num_inference_steps": 6, "width": 64, "height": 64}
    return request(spec_of(), prompt=prompt, **{**small, **parameters})


def picture(
    model: SdxlModel, prompt: str, memory_savings: MemorySavings = NO_SAVINGS, **parameters: Any
) -> np.ndarray[Any, Any]:
    return pixels(render(model, asked(prompt, **parameters), ignore, memory_savings).images[0])


def difference(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    """Mean difference of a channel, of 255."""
    return float(np.abs(one.astype(int) - other).mean())


def test_an_edited_prompt_makes_a_picture_of_its_own(model: SdxlModel) -> None:
    edited = picture(model, f"[{CIRCLE}:{SQUARE}:0.5]")
    assert difference(edited, picture(model, CIRCLE)) > 1
    assert difference(edited, picture(model, SQUARE)) > 1


@pytest.mark.parametrize(
    ("prompt", "same"),
    [
        (f"[{CIRCLE}:{SQUARE}:0]", SQUARE),
        (f"[{CIRCLE}:{SQUARE}:6]", CIRCLE),
        (f"[{CIRCLE}|{CIRCLE}]", CIRCLE),
        (f"{CIRCLE} AND {SQUARE} :0", CIRCLE),
        (f"[{CIRCLE}:2]", f"[:{CIRCLE}:2]"),
        (f"[a|b] AND {CIRCLE} :0", "[a|b]"),
    ],
)
def test_texts_that_are_the_same_at_each_step_give_the_same_bytes(model: SdxlModel, prompt: str, same: str) -> None:
    assert np.array_equal(picture(model, prompt), picture(model, same))


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm2", "pndm", "dpmpp_2s_a", "dpmpp_2m_karras"])
def test_the_prompt_changes_between_two_steps_of_any_sampler(model: SdxlModel, sampler: str) -> None:
    """Both evaluations of a step that has two are told the same."""
    steps = 5
    plan = asked(f"[{CIRCLE}:{SQUARE}:2]", sampler=sampler, num_inference_steps=steps)
    scheduler: Any = build_sampler(plan.sampler, model.sampler_config, model.traits, plan.timestep_spacing)
    evaluations = len(start(scheduler, steps))
    of_evaluation = steps_of_evaluations(scheduler, evaluations, steps)
    counts = [of_evaluation.count(step) for step in range(1, steps + 1)]
    assert sum(counts) == evaluations
    assert set(counts) <= {1, 2}
    run, forward, shapes = SdxlRun(model, plan), SdxlBatchedForward(), []
    while not run.finished:
        shapes.append(run.denoises[0].conditioning)
        forward.step([run])
        while run.decoding:
            run.decode_next()
    changes = [index for index in range(1, len(shapes)) if shapes[index] is not shapes[index - 1]]
    assert changes == [of_evaluation.index(3)]


def test_an_edit_of_the_negative_prompt_acts(model: SdxlModel) -> None:
    plain = picture(model, "a circle", negative_prompt="red")
    assert difference(plain, picture(model, "a circle", negative_prompt="[red:blue:3]")) > 0
    assert np.array_equal(plain, picture(model, "a circle", negative_prompt="[blue:red:0]"))


def test_an_empty_prompt_is_encoded_although_an_empty_negative_one_is_zeros(model: SdxlModel) -> None:
    with torch.inference_mode():
        sequence = encode(model, asked("")).of_stretch(0).sequence
    assert not sequence[0].any()
    assert sequence[1].any()


def test_a_longer_prompt_may_follow(model: SdxlModel) -> None:
    plan = asked(f"[{CIRCLE}:{LONG}:3]")
    with torch.inference_mode():
        scheduled = encode(model, plan)
    assert [scheduled.of_stretch(index).sequence.shape[1] for index in (0, 1)] == [3 * 77, 3 * 77]
    assert picture(model, plan.prompt).shape == (64, 64, 3)


def test_without_weighting_everything_is_words(model: SdxlModel) -> None:
    plan = asked(f"[{CIRCLE}:{SQUARE}:3] AND x", prompt_weighting=False)
    assert plan.rows_an_image == 2
    with torch.inference_mode():
        assert encode(model, plan).stretch_at(6) == 0


WEIGHTS = {"a red circle": 1.0, "a blue square": 0.7, "a yellow background": -0.4}


def predicted(
    model: SdxlModel, latents: torch.Tensor, timestep: torch.Tensor, sequence: torch.Tensor, pooled: torch.Tensor
) -> torch.Tensor:
    told = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
    return model.unet(latents, timestep, encoder_hidden_states=sequence, added_cond_kwargs=told).sample


def reference(model: SdxlModel, plan: GenerationRequest) -> np.ndarray[Any, Any]:
    """Composable diffusion as the paper has it, with the UNet and the scheduler of diffusers: a row at a time."""
    scheduler: Any = build_sampler(plan.sampler, model.sampler_config, model.traits, plan.timestep_spacing)
    timesteps = start(scheduler, plan.num_inference_steps)
    conditionings = [encode(model, asked(text, guidance_scale=1.0)).of_stretch(0) for text in WEIGHTS]
    negative = encode(model, asked("x", negative_prompt=plan.negative_prompt)).of_stretch(0)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(7)) * scheduler.init_noise_sigma
    for timestep in timesteps:
        predict = functools.partial(predicted, model, scheduler.scale_model_input(latents, timestep), timestep)
        without = predict(negative.sequence[:1], negative.pooled[:1])
        guided = without.clone()
        for weight, conditioning in zip(WEIGHTS.values(), conditionings, strict=True):
            guided += weight * plan.guidance_scale * (predict(conditioning.sequence, conditioning.pooled) - without)
        latents = scheduler.step(guided, timestep, latents).prev_sample
    return pixels(decode(model, latents)[0])


def test_parts_are_composed_as_the_paper_has_it(model: SdxlModel) -> None:
    prompt = " AND ".join(f"{text} :{weight}" for text, weight in WEIGHTS.items())
    plan = asked(prompt, negative_prompt="a green star", guidance_scale=3.0)
    assert plan.rows_an_image == 4
    with torch.inference_mode():
        theirs = reference(model, plan)
    assert difference(pixels(render(model, plan, ignore).images[0]), theirs) < 0.01


def test_parts_are_composed_without_guidance_too(model: SdxlModel) -> None:
    """The weights of parts count from the negative row, which is then needed although there is no guidance."""
    plan = asked("a red circle AND a blue square", guidance_scale=1.0)
    assert plan.rows_an_image == 3
    together = picture(model, plan.prompt, guidance_scale=1.0)
    assert difference(together, picture(model, "a red circle", guidance_scale=1.0)) > 1


def test_parts_that_run_one_after_the_other_make_the_same_picture(model: SdxlModel) -> None:
    prompt = "a red circle AND a blue square :0.5"
    alone = picture(model, prompt, MemorySavings(split_guidance=True))
    assert difference(alone, picture(model, prompt)) < 0.01


def test_guidance_rescale_works_with_parts(model: SdxlModel) -> None:
    prompt = "a red circle AND a blue square :0.5"
    assert difference(picture(model, prompt, guidance_rescale=0.7), picture(model, prompt)) > 0


def test_neighbours_in_a_batch_equal_their_solo_runs(model: SdxlModel) -> None:
    plans = [
        asked(f"[{CIRCLE}|{SQUARE}]"),
        asked(CIRCLE, seed=9),
        asked(f"{CIRCLE} AND a green star :0.4", num_inference_steps=5),
        asked(f"[{CIRCLE}:{LONG}:2]"),
        asked(SQUARE, guidance_scale=1.0, num_inference_steps=4),
    ]
    alone = [pixels(render(model, plan, ignore).images[0]) for plan in plans]
    runs, forward = [SdxlRun(model, plan) for plan in plans], SdxlBatchedForward()
    while unfinished := [run for run in runs if not run.finished]:
        assert forward.step(unfinished) == {}
        for run in unfinished:
            while run.decoding:
                run.decode_next()
    for run, solo in zip(runs, alone, strict=True):
        assert difference(pixels(run.images[0]), solo) < 0.01


def test_several_images_at_once_change_together(model: SdxlModel) -> None:
    plan = asked(f"[{CIRCLE}:{SQUARE}:3]", n=3)
    together, apart = render(model, plan, ignore, at_once=2).images, render(model, plan, ignore).images
    assert all(difference(pixels(one), pixels(other)) < 0.01 for one, other in zip(together, apart, strict=True))


def test_keys_and_values_are_laid_anew_only_when_a_prompt_changes(model: SdxlModel) -> None:
    changing, still = SdxlRun(model, asked(f"[{CIRCLE}:{LONG}:3]")), SdxlRun(model, asked(SQUARE))
    forward, laid = SdxlBatchedForward(), []
    for _ in range(6):
        forward.step([changing, still])
        laid.append(tuple(forward._laid))
    assert [len({step[group] for step in laid}) for group in (0, 1)] == [2, 1]
    assert laid[0] == laid[2]
    assert laid[3] == laid[5]


def refused(prompt: str, **limits: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        resolve(GenerationParameters(prompt=prompt), spec_of(), Limits(**limits), random_seed=0)
    (error,) = caught.value.errors
    return error.message


def test_too_many_texts_are_refused_with_the_setting() -> None:
    message = refused("[a|b|c] AND [d|e]", max_conditionings=4)
    assert "6 different texts" in message  # five, and the negative prompt
    assert "limits.max_conditionings" in message
    assert "at most 4 parts" in refused("a AND b AND c AND d AND e", max_conditionings=4)


@pytest.mark.parametrize(
    ("prompt", "negative", "warned"),
    [
        ("a red circle, [a:b:0.5], [c|d], x AND y", None, []),
        ("[a:b:c:0.5]", None, ["prompt has '[a:b:c:0.5]', which was read as words"]),
        ("{a|b} [c:0.5]", None, ["prompt has '{a|b}'", "prompt has '[c:0.5]'"]),
        ("a", "b AND c", ["negative_prompt has 'AND', which was read as words: negative prompts are not composed"]),
        ("a AND b :11", None, ["prompt has parts whose weight is 10 or more"]),
    ],
)
def test_what_is_not_read_is_told(prompt: str, negative: str | None, warned: list[str]) -> None:
    parameters = GenerationParameters(prompt=prompt, negative_prompt=negative)
    found = resolve(parameters, spec_of(), Limits(), random_seed=0).warnings
    assert len(found) == len(warned)
    assert all(one.startswith(start) for one, start in zip(found, warned, strict=True))
