"""Fields of img2img as the web UI reads them."""

import base64

import pytest

from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.web.a1111.generation.img2img_translation import with_picture
from litestar_diffusion.web.a1111.generation.img2img_wire import Img2ImgRequest
from litestar_diffusion.web.a1111.generation.translation import Translation

FILE = base64.b64encode(b"a file").decode()
TEXT = Translation(parameters=GenerationParameters(prompt="x"), warnings=())


@pytest.mark.parametrize(("fill", "content"), [(0, "fill"), (1, "original"), (2, "noise"), (3, "nothing")])
def test_inpainting_fill_says_what_the_masked_part_begins_from(fill: int, content: str) -> None:
    asked = Img2ImgRequest(init_images=[FILE], mask=FILE, inpainting_fill=fill)  # pyright: ignore[reportArgumentType]
    translation = with_picture(asked, TEXT)
    assert translation.parameters.mask_content == content
    assert translation.warnings == ()


def test_without_a_mask_its_fields_mean_nothing() -> None:
    asked = Img2ImgRequest(init_images=[FILE], inpainting_fill=2, mask_blur=8)  # pyright: ignore[reportArgumentType]
    parameters = with_picture(asked, TEXT).parameters
    assert (parameters.mask_content, parameters.mask_blur_px) == ("original", TEXT.parameters.mask_blur_px)
