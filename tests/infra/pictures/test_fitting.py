"""Pictures and masks in the size of a request; what is laid over keeps every pixel that the mask does not mark."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from litestar_diffusion.domain.requests.pictures.picture import Picture, Resize
from litestar_diffusion.domain.requests.pictures.source import FromMaskedImage
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.infra.pictures.fitting import composed, fitted, masked

RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


def picture(image: Image.Image) -> Picture:
    channels = 1 if image.mode == "L" else 3
    return Picture(digest="", width=image.width, height=image.height, channels=channels, pixels=image.tobytes())


def array(found: Picture | RawImage) -> np.ndarray:
    return np.frombuffer(found.pixels, np.uint8).reshape(found.height, found.width, -1)


def stripes() -> Image.Image:
    """64 x 32: red, green, blue, green from left to right, 16 pixels each."""
    image = Image.new("RGB", (64, 32), GREEN)
    image.paste(RED, (0, 0, 16, 32))
    image.paste(BLUE, (32, 0, 48, 32))
    return image


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def source(image: Image.Image, mask: Image.Image, **said: object) -> FromMaskedImage:
    return FromMaskedImage(
        image=picture(image),
        mask=picture(mask),
        image_sha256="",
        mask_sha256="",
        strength=0.6,
        **said,  # pyright: ignore[reportArgumentType]
    )


def box_mask(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, box)
    return mask


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    image = picture(stripes())
    assert fitted(image, 64, 32, "stretch") is image


def test_crop_cuts_the_sides_off() -> None:
    """The middle 32 x 32 pixels: half of the left green stripe and of the blue one."""
    rows = array(fitted(picture(stripes()), 32, 32, "crop"))
    assert tuple(rows[16, 4]) == GREEN
    assert tuple(rows[16, 28]) == BLUE


def test_stretch_keeps_all_of_it() -> None:
    rows = array(fitted(picture(stripes()), 32, 32, "stretch"))
    assert [tuple(rows[16, x]) for x in (3, 12, 19, 28)] == [RED, GREEN, BLUE, GREEN]


def test_pad_continues_the_borders() -> None:
    rows = array(fitted(picture(stripes()), 64, 64, "pad"))
    assert [tuple(rows[y, 5]) for y in (0, 32, 63)] == [RED] * 3
    wide = array(fitted(picture(stripes()), 96, 32, "pad"))
    assert (tuple(wide[16, 0]), tuple(wide[16, 95])) == (RED, GREEN)
    assert np.array_equal(wide[:, 16:80], array(picture(stripes())))


@pytest.mark.parametrize("resize", ["crop", "pad", "stretch"])
@settings(deadline=None, max_examples=25)
@given(st.integers(8, 90), st.integers(8, 90), st.integers(1, 12), st.integers(1, 12))
def test_any_picture_gets_any_size(resize: Resize, width: int, height: int, columns: int, rows: int) -> None:
    found = fitted(picture(noise(width, height)), 8 * columns, 8 * rows, resize)
    assert (found.width, found.height) == (8 * columns, 8 * rows)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 50),
    st.integers(0, 50),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 20),
    st.none() | st.integers(0, 20),
)
def test_pixels_outside_of_the_mask_stay_to_the_bit(
    left: int, top: int, width: int, height: int, blur: int, padding: int | None
) -> None:
    image, mask = noise(64, 64), box_mask((64, 64), (left, top, left + width, top + height))
    prepared = masked(source(image, mask, mask_blur_px=blur, mask_padding_px=padding), 64, 64)
    assert prepared.canvas is not None
    painted = RawImage(width=64, height=64, pixels=bytes(64 * 64 * 3))
    result = array(composed(prepared.canvas, painted))
    outside = np.asarray(mask) == 0
    assert np.array_equal(result[outside], np.asarray(image)[outside])
    if not blur:
        assert not result[~outside].any()


def test_the_masked_part_alone_is_denoised_in_the_size_of_the_request() -> None:
    """20 x 20 pixels around the mask become 64 x 64, and go back to where they were."""
    image, mask = noise(128, 128), box_mask((128, 128), (54, 54, 74, 74))
    prepared = masked(source(image, mask, mask_blur_px=0, mask_padding_px=0), 64, 64)
    assert prepared.canvas is not None
    assert (prepared.image.width, prepared.image.height) == (64, 64)
    assert array(prepared.mask).min() == 255
    region = prepared.canvas.region
    assert (region.left, region.top, region.width, region.height) == (54, 54, 20, 20)
    result = composed(prepared.canvas, RawImage(width=64, height=64, pixels=b"\xff" * (64 * 64 * 3)))
    assert (result.width, result.height) == (128, 128)
    assert (array(result)[54:74, 54:74] == 255).all()


def test_the_region_gets_the_shape_of_the_request_inside_the_picture() -> None:
    mask = box_mask((128, 64), (0, 0, 10, 10))
    prepared = masked(source(noise(128, 64), mask, mask_padding_px=4), 128, 64)
    assert prepared.canvas is not None
    region = prepared.canvas.region
    assert (region.left, region.top, region.width, region.height) == (0, 0, 28, 14)


def test_an_inverted_mask_marks_what_is_kept() -> None:
    prepared = masked(source(noise(64, 64), box_mask((64, 64), (0, 0, 32, 64)), mask_invert=True), 64, 64)
    assert (array(prepared.mask)[:, :32] == 0).all()
    assert (array(prepared.mask)[:, 32:] == 255).all()


def test_what_is_padded_is_painted() -> None:
    """Outpainting: the picture keeps its pixels in the middle, and the mask covers what is new."""
    prepared = masked(source(noise(64, 64), Image.new("L", (64, 64), 0), resize="pad"), 128, 64)
    found = array(prepared.mask)[..., 0]
    assert (found[:, :32] == 255).all()
    assert (found[:, 32:96] == 0).all()
    assert (found[:, 96:] == 255).all()


def test_an_empty_mask_paints_nothing() -> None:
    image = noise(64, 64)
    prepared = masked(source(image, Image.new("L", (64, 64), 0), mask_padding_px=8), 64, 64)
    assert prepared.canvas is not None
    result = composed(prepared.canvas, RawImage(width=64, height=64, pixels=bytes(64 * 64 * 3)))
    assert result.pixels == image.tobytes()


def test_a_filled_mask_takes_the_colours_around_it_and_changes_nothing_else() -> None:
    image = Image.new("RGB", (96, 96), RED)
    image.paste(BLUE, (48, 0, 96, 96))
    image.paste("white", (16, 32, 80, 64))
    mask = box_mask((96, 96), (16, 32, 80, 64))
    prepared = masked(source(image, mask, mask_content="fill"), 96, 96)
    found, given = array(prepared.image).astype(int), np.asarray(image)
    outside = np.asarray(mask) == 0
    assert np.array_equal(found[outside], given[outside])
    assert (found[33:63, 17:79, 1] < 40).all()  # no white, and no black from what was cut out
    assert (found[33:63, 17:79].sum(axis=2) > 200).all()
    assert found[48, 20, 0] > found[48, 20, 2]
    assert found[48, 76, 2] > found[48, 76, 0]
    assert prepared.canvas is not None
    assert np.array_equal(array(prepared.canvas.picture), given)
