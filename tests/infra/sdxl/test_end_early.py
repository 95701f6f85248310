"""Images that end before their last step: what is denoised so far is decoded, and others in the batch are as ever."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from litestar_diffusion.domain.requests.early_end import Ending
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from tests.infra.sdxl.test_render import MODELS, ignore, image_of, pixels, request, spec_of

STEPS = 8
SMALL: dict[str, Any] = {"width": 64, "height": 64, "num_inference_steps": STEPS}
EARLY = 5
"""Steps after which the outlines of the demo model's pictures stand."""


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    return load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


def ended(model: SdxlModel, ending: Ending, *beside: SdxlRun, **parameters: Any) -> SdxlRun:
    """A run of three images, one after the other, whose first one ends early."""
    asked = request(spec_of(), n=3, **SMALL, **parameters)
    run, forward = SdxlRun(model, asked), SdxlBatchedForward()
    while working := [each for each in (run, *beside) if not each.finished]:
        assert forward.step(working) == {}
        if run.done == EARLY and not run.finished:
            run.end_early(ending)
        for each in working:
            while each.decoding:
                each.decode_next()
    return run


def psnr(one: RawImage, other: bytes) -> float:
    there = np.frombuffer(other, np.uint8).reshape(one.height, one.width, 3)
    error = np.mean((pixels(one).astype(float) - there) ** 2)
    return 10 * math.log10(255**2 / error) if error else math.inf


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m_karras"])
def test_an_image_that_ends_early_is_the_estimate_of_the_finished_one(model: SdxlModel, sampler: str) -> None:
    run = ended(model, "request", sampler=sampler)
    (image,) = run.images
    assert run.unfinished == {0}
    assert psnr(image, image_of(model, **SMALL, sampler=sampler)) > 12
    assert not image.is_of_one_colour


def test_the_end_of_an_image_lets_the_next_ones_be_finished(model: SdxlModel) -> None:
    run = ended(model, "images")
    assert (len(run.images), run.unfinished) == (3, {0})
    for place in (1, 2):
        assert run.images[place].pixels == image_of(model, **SMALL, seed=7 + place)


def test_other_requests_of_the_batch_are_as_ever(model: SdxlModel) -> None:
    other = SdxlRun(model, request(spec_of(), seed=50, **SMALL))
    ended(model, "request", other)
    assert other.unfinished == frozenset()
    assert psnr(other.images[0], image_of(model, seed=50, **SMALL)) > 60
