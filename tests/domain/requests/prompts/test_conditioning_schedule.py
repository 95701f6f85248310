"""The rows of each step, in both passes of a request."""

from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.passes import denoising_passes
from litestar_diffusion.domain.requests.prompts.conditioning_schedule import conditioning_schedule
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import model


def prompts_of_passes(prompt: str) -> list[list[tuple[int, str]]]:
    """The last step and the prompt of each stretch, of a first pass of ten steps and a second one of ten."""
    parameters = GenerationParameters(prompt=prompt, num_inference_steps=10, hires=Hires(scale=2, strength=0.5))
    request = resolve(parameters, model("a"), Limits(), random_seed=1).request
    return [
        [(rows.last_step, rows.positives[0].prompt) for rows in conditioning_schedule(each).stretches]
        for each in denoising_passes(request)
    ]


def test_a_prompt_that_changed_in_the_first_pass_stays_changed_in_the_second() -> None:
    for when in ("0.5", "5"):
        assert prompts_of_passes(f"[a circle:a square:{when}]") == [
            [(5, "a circle"), (10, "a square")],
            [(10, "a square")],
        ]


def test_shares_above_1_and_steps_beyond_the_first_pass_change_the_second() -> None:
    for when in ("1.5", "15"):
        assert prompts_of_passes(f"[a circle:a square:{when}]") == [
            [(10, "a circle")],
            [(5, "a circle"), (10, "a square")],
        ]
