"""An image that its file format cannot hold is refused before it is made."""

import pytest

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.pictures.picture import Upload, UploadField, Uploads
from litestar_diffusion.domain.requests.resolving.broken_limits import broken_limits
from litestar_diffusion.domain.requests.upscaling.upscale_parameters import UpscaleParameters, resolve_upscaling
from litestar_diffusion.testing import model

LIMITS = Limits(max_side_px=70_000, max_pixels=2**31 - 1)


def upload(field: UploadField, width: int, height: int) -> Upload:
    return Upload(field=field, digest="0" * 64, width=width, height=height, data=b"")


@pytest.mark.parametrize(
    ("fmt", "width", "message"),
    [
        ("webp", 16384, "webp holds at most 16383 pixels a side, and the image has 16384 x 64; use png or jpeg"),
        ("webp", 65504, "webp holds at most 16383 pixels a side, and the image has 65504 x 64; use png"),
        ("jpeg", 65504, "jpeg holds at most 65500 pixels a side, and the image has 65504 x 64; use png"),
    ],
)
def test_the_refusal_names_the_formats_that_can(fmt: OutputFormat, width: int, message: str) -> None:
    asked = GenerationParameters(prompt="x", width=width, height=64, output_format=fmt)
    assert [(error.field, error.message) for error in broken_limits(asked, model("a"), LIMITS)] == [
        ("output_format", message)
    ]


def test_the_second_pass_counts() -> None:
    asked = GenerationParameters(prompt="x", width=4096, height=64, hires=Hires(scale=8), output_format="webp")
    assert [error.field for error in broken_limits(asked, model("a"), LIMITS)] == ["output_format"]


def test_a_picture_that_keeps_its_size_under_a_mask_counts() -> None:
    uploads = Uploads(image=upload("image", 17_000, 1200), mask=upload("mask", 17_000, 1200))
    asked = GenerationParameters(
        prompt="x", image=b"", mask=b"", width=64, height=64, mask_padding_px=8, output_format="webp"
    )
    assert [error.field for error in broken_limits(asked, model("a"), Limits(), uploads)] == ["output_format"]


def test_an_enlarged_picture_counts() -> None:
    asked = UpscaleParameters(image=b"", scale=8, output_format="webp")
    with pytest.raises(InvalidRequest, match="output_format: webp holds at most 16383 pixels a side"):
        resolve_upscaling(asked, upload("image", 2100, 136), None, Limits())
