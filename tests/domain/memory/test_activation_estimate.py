"""Bytes from shapes, the largest size that they allow, and their correction by what was observed."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.families.sdxl.widths import SDXL_WIDTHS, Widths
from litestar_diffusion.domain.memory.activation_calibration import ActivationCalibration
from litestar_diffusion.domain.memory.activation_estimate import Demand, largest_size
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import model

SPEC = model("a")
MIB = 1024**2
SPLIT, BOTH = MemorySavings(split_guidance=True), MemorySavings(tiled_decode=True, split_guidance=True)
SIDES = st.integers(8, 512).map(lambda eighth: eighth * 8)


def request(width: int = 1024, height: int = 1024, guidance_scale: float = 7.5) -> GenerationRequest:
    said = GenerationParameters(prompt="x", guidance_scale=guidance_scale)
    return replace(resolve(said, SPEC, Limits(), random_seed=0).request, width=width, height=height)


def activation_nbytes(
    asked: GenerationRequest,
    element_nbytes: int,
    memory_savings: MemorySavings = NO_SAVINGS,
    widths: Widths = SDXL_WIDTHS,
) -> int:
    spec = replace(SPEC, networks=widths)
    return Demand(spec=spec, request=asked, element_nbytes=element_nbytes).predicted_nbytes(memory_savings)


def demand(width: int = 1024, height: int = 1024) -> Demand:
    return Demand(spec=SPEC, request=request(width, height), element_nbytes=2)


def test_figures_are_those_that_were_counted() -> None:
    assert activation_nbytes(request(), 2) == 1536 * MIB
    assert activation_nbytes(request(), 4) == 2 * 1536 * MIB
    assert activation_nbytes(request(), 2, BOTH) == pytest.approx(1536 * MIB / 4, rel=0.1)
    narrow = Widths(unet=320, vae=1)
    prompt = 77 * 2 * 83_200 * 2
    assert activation_nbytes(request(), 2, NO_SAVINGS, narrow) == 2 * (158 * MIB + prompt)
    assert activation_nbytes(request(), 2, SPLIT, narrow) == 158 * MIB
    assert activation_nbytes(request(guidance_scale=1), 2, NO_SAVINGS, narrow) == 158 * MIB + prompt


def test_a_small_model_is_not_charged_what_sdxl_needs() -> None:
    demo = Widths(unet=32, prompt=704, vae=16)
    assert activation_nbytes(request(128, 128), 4, NO_SAVINGS, demo) < 4 * MIB


@given(SIDES, SIDES, st.sampled_from([1.0, 7.5]), st.sampled_from([2, 4]))
def test_each_saving_saves_where_tiles_are_smaller_than_the_picture(
    width: int, height: int, guidance_scale: float, element_nbytes: int
) -> None:
    asked = request(width, height, guidance_scale)
    lavish, split = (activation_nbytes(asked, element_nbytes, memory_savings) for memory_savings in (NO_SAVINGS, SPLIT))
    assert split <= lavish
    if min(width, height) * 2 > max(width, height):  # a strip has one tile, which is nearly all of it
        assert activation_nbytes(asked, element_nbytes, BOTH) < lavish


@given(SIDES, SIDES, st.integers(10**5, 2 * 10**10), st.sampled_from([NO_SAVINGS, BOTH]))
def test_the_largest_size_fits_and_64_more_does_not(
    width: int, height: int, room: int, memory_savings: MemorySavings
) -> None:
    asked = request(width, height)

    def fits(resized: GenerationRequest) -> bool:
        return activation_nbytes(resized, 2, memory_savings) <= room

    size = largest_size(asked, fits)
    if size is None:
        assert not fits(replace(asked, width=64, height=64)) or max(width, height) < 64
        return
    assert fits(replace(asked, width=size[0], height=size[1]))
    assert all(side % 64 == 0 for side in size)
    assert size[0] <= width
    assert size[1] <= height
    longer = max(width, height)
    more = tuple(max(asked_side * (max(size) + 64) // longer // 64 * 64, 64) for asked_side in (width, height))
    assert max(more) > longer or not fits(replace(asked, width=more[0], height=more[1]))


@given(st.integers(1, 8))
def test_the_largest_size_keeps_the_shape(factor: int) -> None:
    asked = request(256 * factor, 128 * factor)
    size = largest_size(asked, lambda resized: resized.width <= 256)
    assert size == (256, 128)


def test_a_higher_peak_counts_at_once_and_a_lower_one_slowly() -> None:
    book = ActivationCalibration()
    predicted = book.expected_nbytes(demand(), NO_SAVINGS)
    book.succeeded(demand(), NO_SAVINGS, predicted * 3)
    assert book.expected_nbytes(demand(), NO_SAVINGS) == predicted * 3
    book.succeeded(demand(), NO_SAVINGS, predicted)
    assert 2.5 * predicted < book.expected_nbytes(demand(), NO_SAVINGS) < 3 * predicted
    for _ in range(100):
        book.succeeded(demand(), NO_SAVINGS, predicted // 2)
    assert book.expected_nbytes(demand(), NO_SAVINGS) == pytest.approx(predicted / 2, rel=0.01)


@given(SIDES, SIDES, st.integers(0, 10**10))
def test_the_same_request_is_expected_to_need_what_it_needed(width: int, height: int, observed: int) -> None:
    book = ActivationCalibration()
    asked = demand(width, height)
    expected = book.expected_nbytes(asked, NO_SAVINGS)
    book.succeeded(asked, NO_SAVINGS, observed)
    if observed > expected:
        assert book.expected_nbytes(asked, NO_SAVINGS) == pytest.approx(observed, rel=1e-6)
    else:
        assert observed * 0.999 <= book.expected_nbytes(asked, NO_SAVINGS) <= expected


def test_the_fixed_cost_of_a_tiny_picture_is_not_multiplied_for_a_large_one() -> None:
    book = ActivationCalibration()
    predicted = book.expected_nbytes(demand(), NO_SAVINGS)
    book.succeeded(demand(64, 64), NO_SAVINGS, 60 * MIB)  # 6 MiB predicted, the rest workspaces
    assert book.expected_nbytes(demand(), NO_SAVINGS) < predicted * 1.25


def test_models_versions_and_dtypes_are_told_apart() -> None:
    book = ActivationCalibration()
    predicted = book.expected_nbytes(demand(), NO_SAVINGS)
    book.succeeded(demand(), NO_SAVINGS, predicted * 3)
    book.failed(demand())
    for other in (
        replace(demand(), spec=model("b")),
        replace(demand(), spec=replace(SPEC, version="2")),
    ):
        assert book.safe_nbytes(other, NO_SAVINGS) == predicted
    assert book.safe_nbytes(replace(demand(), element_nbytes=4), NO_SAVINGS) == predicted * 2


def test_failures_raise_what_is_reserved_up_to_a_limit_and_successes_ease_it() -> None:
    book = ActivationCalibration()
    expected = book.expected_nbytes(demand(), NO_SAVINGS)
    seen = []
    for _ in range(10):
        book.failed(demand())
        seen.append(book.safe_nbytes(demand(), NO_SAVINGS))
    assert expected < seen[0] < seen[1] <= seen[-1] == expected * 4
    assert book.expected_nbytes(demand(), NO_SAVINGS) == expected
    book.succeeded(demand(), NO_SAVINGS, None)
    assert book.safe_nbytes(demand(), NO_SAVINGS) < seen[-1]
