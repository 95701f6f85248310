"""Uploads are read as people see them, and refused with the reason before they cost memory."""

import asyncio
import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.parameters import Limits
from litestar_diffusion.domain.requests.pictures.picture import Picture
from litestar_diffusion.infra.pictures.reader import PillowImageReader

RED, BLUE = (255, 0, 0), (0, 0, 255)
LIMITS = Limits(max_image_bytes=200_000, max_image_pixels=1_000_000)


@dataclass(frozen=True)
class Decoded:
    image: Picture | None
    mask: Picture | None
    warnings: tuple[str, ...]


def read(image: bytes | None = None, mask: bytes | None = None) -> Decoded:
    async def decoded() -> Decoded:
        reader = PillowImageReader(LIMITS)
        uploads = await reader.read(image, mask)
        for sent in (uploads.image, uploads.mask):
            if sent is not None:
                picture = await reader.decoded(sent)
                assert (sent.digest, sent.width, sent.height) == (picture.digest, picture.width, picture.height)
        return Decoded(
            image=uploads.image and await reader.decoded(uploads.image),
            mask=uploads.mask and await reader.decoded(uploads.mask),
            warnings=uploads.warnings,
        )

    return asyncio.run(decoded())


def refused(image: bytes | None = None, mask: bytes | None = None) -> dict[str, str]:
    with pytest.raises(InvalidRequest) as caught:
        read(image, mask)
    return {error.field: error.message for error in caught.value.errors}


def tiff_of(pages: int) -> bytes:
    """A TIFF file of grey pages of 8 x 8, which all have the same pixels."""
    pixels, tags_nbytes = b"\x80" * 64, 2 + 4 * 12 + 4
    tags = ((256, 4, 1, 8), (257, 4, 1, 8), (262, 4, 1, 1), (273, 4, 1, 8))
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    first = 8 + len(pixels)
    ends = [first + tags_nbytes * (page + 1) for page in range(pages - 1)]
    directories = (struct.pack("<H", len(tags)) + entries + struct.pack("<I", following) for following in (*ends, 0))
    return struct.pack("<2sHI", b"II", 42, first) + pixels + b"".join(directories)


def half_red(mode: str = "RGB") -> Image.Image:
    """32 x 16, red on the left, blue on the right."""
    image = Image.new("RGB", (32, 16), BLUE)
    image.paste(RED, (0, 0, 16, 16))
    return image.convert(mode)


def saved(image: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def pixel(picture: Picture | None, x: int, y: int) -> tuple[int, ...]:
    assert picture is not None
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, picture.channels)
    return tuple(int(value) for value in rows[y, x])


def near(one: tuple[int, ...], other: tuple[int, ...], by: int = 12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("fmt", ["PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF"])
def test_common_formats_are_read(fmt: str) -> None:
    options = {"quality": 95} if fmt in ("JPEG", "WEBP", "AVIF") else {}
    image = read(saved(half_red(), fmt, **options)).image
    assert image is not None
    assert (image.width, image.height, image.channels) == (32, 16, 3)
    assert near(pixel(image, 4, 8), RED, 24)
    assert near(pixel(image, 28, 8), BLUE, 24)


@pytest.mark.parametrize("mode", ["RGBA", "P", "CMYK"])
def test_colour_modes_become_rgb(mode: str) -> None:
    image = read(saved(half_red(mode), "TIFF" if mode == "CMYK" else "PNG")).image
    assert near(pixel(image, 4, 8), RED)
    assert near(pixel(image, 28, 8), BLUE)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_greys_become_rgb(mode: str) -> None:
    image = read(saved(Image.new("L", (16, 16), 255).convert(mode))).image
    assert pixel(image, 3, 3) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut_off() -> None:
    grey = Image.fromarray(np.full((16, 16), 32768, np.uint16))
    assert near(pixel(read(saved(grey)).image, 3, 3), (128, 128, 128), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_samples_without_a_known_white_are_refused(dtype: Any) -> None:
    grey = Image.fromarray(np.full((16, 16), 1, dtype))
    assert "save it with 8 or 16 bits a channel" in refused(saved(grey, "TIFF"))["image"]


@pytest.mark.parametrize("fmt", ["PNG", "WEBP"])
def test_unreadable_exif_data_is_a_warning(fmt: str) -> None:
    found = read(saved(half_red(), fmt, exif=b"garbage-not-tiff-at-all"))
    assert near(pixel(found.image, 4, 8), RED, 24)
    assert found.warnings == ("image has EXIF data that cannot be read; the picture was not turned.",)


def test_texts_that_unpack_to_more_than_pillow_allows_are_named() -> None:
    texts = PngInfo()
    texts.add_text("workflow", "x" * 2_000_000, zip=True)
    assert "text chunk" in refused(saved(half_red(), pnginfo=texts))["image"]


def test_transparent_pixels_become_white() -> None:
    image = half_red("RGBA")
    image.putalpha(0)
    assert pixel(read(saved(image)).image, 4, 8) == (255, 255, 255)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise shows it upright
    image = read(saved(half_red(), "JPEG", exif=exif, quality=95)).image
    assert image is not None
    assert (image.width, image.height) == (16, 32)
    assert near(pixel(image, 8, 4), RED, 24)
    assert near(pixel(image, 8, 28), BLUE, 24)


@pytest.mark.parametrize(
    ("fmt", "frames"), [("PNG", "2"), ("WEBP", "2"), ("AVIF", "2"), ("GIF", "several"), ("TIFF", "several")]
)
def test_of_an_animation_the_first_frame_is_used_and_said(fmt: str, frames: str) -> None:
    first, second = (Image.new("RGB", (16, 16), colour) for colour in (RED, BLUE))
    uploads = read(saved(first, fmt, save_all=True, append_images=[second]))
    assert near(pixel(uploads.image, 3, 3), RED)
    assert uploads.warnings == (f"image has {frames} frames; the first was used.",)


def test_pages_of_a_tiff_are_not_walked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is in no header: finding the last one reads each page, and looks it up among all before it."""
    read_pages: list[int] = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load

    def counted(self: Any, fp: Any) -> None:
        read_pages.append(fp.tell())
        load(self, fp)

    monkeypatch.setattr(TiffImagePlugin.ImageFileDirectory_v2, "load", counted)
    assert read(tiff_of(3000)).warnings == ("image has several frames; the first was used.",)
    assert len(read_pages) < 10


def test_a_picture_is_named_by_the_digest_of_its_file() -> None:
    data = saved(half_red())
    image = read(data).image
    assert image is not None
    assert image.digest == hashlib.sha256(data).hexdigest()


def test_a_mask_is_what_is_bright() -> None:
    mask = read(saved(half_red()), saved(half_red().convert("L").point([0] * 50 + [255] * 206))).mask
    assert (pixel(mask, 4, 8), pixel(mask, 28, 8)) == ((255,), (0,))


def test_the_levels_of_a_mask_are_known_again_when_it_comes_again() -> None:
    async def levels() -> list[tuple[int, int] | None]:
        reader, image = PillowImageReader(LIMITS), saved(half_red())
        both = [await reader.read(image, saved(Image.new("L", (32, 16), 7))) for _ in range(2)]
        return [upload and upload.levels for uploads in both for upload in (uploads.image, uploads.mask)]

    assert asyncio.run(levels()) == [None, (7, 7)] * 2


def test_a_mask_with_transparency_is_what_is_transparent() -> None:
    stencil = Image.new("RGBA", (32, 16), (255, 255, 255, 255))
    stencil.paste((0, 0, 0, 0), (0, 0, 16, 16))
    mask = read(saved(half_red()), saved(stencil)).mask
    assert (pixel(mask, 4, 8), pixel(mask, 28, 8)) == ((255,), (0,))


def test_an_opaque_mask_with_an_alpha_channel_is_what_is_bright() -> None:
    mask = read(saved(half_red()), saved(Image.new("RGBA", (32, 16), "white"))).mask
    assert pixel(mask, 4, 8) == (255,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        b"%PDF-1.7",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        saved(half_red())[:60],
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=["empty", "text", "pdf", "svg", "cut", "signature alone"],
)
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    message = refused(data)["image"]
    assert message.startswith("is not a whole PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF file")
    assert "object at" not in message


def test_both_files_are_reported_at_once() -> None:
    assert set(refused(b"one", b"two")) == {"image", "mask"}


def test_files_that_are_too_large_are_refused_by_their_bytes() -> None:
    assert refused(b"\x89PNG" + bytes(200_000))["image"] == (
        "must be at most 200000 bytes (limits.max_image_bytes), got 200004"
    )


@pytest.mark.parametrize("side", [5_000, 30_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    """Up to 900 million pixels in a hundred bytes: nothing is decoded."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    small = saved(half_red())
    message = refused(small[:8] + chunk + small[8 + len(chunk) :])["image"]
    assert message.startswith("must have at most 1000000 pixels (limits.max_image_pixels)")


@pytest.mark.parametrize("size", [(1, 1), (4, 400), (900, 10)])
def test_sides_that_cannot_be_denoised_are_refused(size: tuple[int, int]) -> None:
    assert "sides of at least 8 pixels" in refused(saved(Image.new("RGB", size)))["image"]
