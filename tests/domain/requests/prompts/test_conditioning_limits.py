"""Limits on the texts of a request, and the embeddings that they name, hold for both passes."""

import pytest

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import Resolved
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import model
from tests.domain.requests.prompts.test_embedding_words import use

TURQUOISE = use("turquoise")


def resolved(prompt: str, steps: int, hires: Hires) -> Resolved:
    parameters = GenerationParameters(prompt=prompt, num_inference_steps=steps, hires=hires)
    return resolve(parameters, model("a"), Limits(), random_seed=1, embeddings=[TURQUOISE])


def test_texts_of_the_second_pass_count() -> None:
    options = "|".join(f"x{index}" for index in range(40))
    with pytest.raises(InvalidRequest) as caught:
        resolved(f"[{options}]", 1, Hires(scale=2, steps=40, strength=1))
    assert "changes between 41 different texts in 1 + 40 steps" in str(caught.value)


def test_texts_that_both_passes_have_count_once() -> None:
    options = "|".join(f"x{index}" for index in range(20))
    resolved(f"[{options}]", 20, Hires(scale=2, strength=1))


def test_embeddings_that_the_second_pass_alone_names_are_used() -> None:
    found = resolved("[a red square:a turquoise square:3]", 2, Hires(scale=2, steps=6))
    assert found.request.embeddings == (TURQUOISE,)
