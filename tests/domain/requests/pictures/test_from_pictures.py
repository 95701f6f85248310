"""What is said about pictures that a request does not have is told to have no effect."""

import re
from typing import Any

import pytest

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.pictures.picture import Upload, Uploads
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import model


@pytest.mark.parametrize(
    ("stated", "without"),
    [
        ({"strength": 0.5}, "image"),
        ({"resize": "pad"}, "image"),
        ({"mask_content": "noise"}, "mask"),
        ({"mask_padding_px": 8}, "mask"),
        ({"mask_invert": True}, "mask"),
        ({"mask_blur_px": 0}, "mask"),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_field_about_a_picture_that_is_not_there_is_a_warning(stated: dict[str, Any], without: str) -> None:
    plain = resolve(GenerationParameters(prompt="x"), model("a"), Limits(), random_seed=0)
    found = resolve(GenerationParameters(prompt="x", **stated), model("a"), Limits(), random_seed=0)
    assert set(found.warnings) - set(plain.warnings) == {f"{next(iter(stated))} has no effect without {without}."}


def warnings_of(levels: tuple[int, int], size: tuple[int, int], **stated: Any) -> list[str]:
    """What is said of a mask beside an image of 128 x 85."""
    uploads = Uploads(
        image=Upload(field="image", digest="0" * 64, width=128, height=85, data=b""),
        mask=Upload(field="mask", digest="1" * 64, width=size[0], height=size[1], levels=levels, data=b""),
    )
    asked = GenerationParameters(prompt="x", image=b"", mask=b"", num_inference_steps=10, **stated)
    found = resolve(asked, model("a"), Limits(), random_seed=0, uploads=uploads).warnings
    return [warning for warning in found if warning.startswith("mask")]


@pytest.mark.parametrize(
    ("size", "stretched"),
    [((128, 85), False), ((64, 42), False), ((64, 43), False), ((64, 256), True), ((85, 128), True)],
)
def test_a_mask_of_another_shape_is_a_warning(size: tuple[int, int], stretched: bool) -> None:
    assert any("another shape" in warning for warning in warnings_of((0, 255), size)) is stretched


@pytest.mark.parametrize(
    ("levels", "stated", "warned"),
    [
        ((0, 255), {}, False),
        ((0, 127), {}, True),
        ((255, 255), {"mask_invert": True}, True),
        ((0, 0), {"mask_invert": True}, False),
        ((0, 0), {"resize": "pad"}, False),
    ],
)
def test_a_mask_that_marks_nothing_is_a_warning(levels: tuple[int, int], stated: dict[str, Any], warned: bool) -> None:
    assert any("marks nothing" in warning for warning in warnings_of(levels, (128, 85), **stated)) is warned


@pytest.mark.parametrize(("content", "warned"), [("fill", False), ("noise", True), ("nothing", True)])
def test_from_noise_alone_the_colours_around_the_mask_still_count(content: str, warned: bool) -> None:
    found = warnings_of((0, 255), (128, 85), mask_content=content, strength=1.0)
    assert any("mask_content has no effect" in warning for warning in found) is warned


@pytest.mark.parametrize("steps", range(1, 151))
def test_the_least_strength_of_the_advice_leaves_a_step(steps: int) -> None:
    uploads = Uploads(image=Upload(field="image", digest="0" * 64, width=128, height=128, data=b""))

    def asked(strength: float) -> GenerationParameters:
        return GenerationParameters(prompt="x", image=b"", num_inference_steps=steps, strength=strength)

    with pytest.raises(InvalidRequest) as caught:
        resolve(asked(1e-300), model("a"), Limits(), random_seed=0, uploads=uploads)
    advised = re.search(r"use at least ([0-9.]+)", str(caught.value))
    assert advised is not None
    assert resolve(asked(float(advised[1].rstrip("."))), model("a"), Limits(), random_seed=0, uploads=uploads).request
