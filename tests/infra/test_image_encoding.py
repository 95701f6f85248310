"""The image writer: pixels and generation data survive every format they are written in."""

import asyncio
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.rendering import ImageWriter, RawImage
from litestar_diffusion.infra.image_encoding import PillowImageWriter, encode

FORMATS: tuple[OutputFormat, ...] = ("png", "jpeg", "webp")
FACTS = {
    "parameters": "a red circle, \U0001f534 \u7ea2\u8272\u7684\u5706\nNegative prompt: gr\u00fcn\nSteps: 4, Seed: 1",
    "litestar-diffusion": '{"model": "demo", "request": {"prompt": "\U0001f534 \u7ea2 \u00fc"}}',
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)


def _smooth(width: int = 40, height: int = 24) -> RawImage:
    """A picture that lossy formats keep well."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 5, y * 8, 128 + x - y], axis=-1).astype(np.uint8)
    return RawImage(width=width, height=height, pixels=pixels.tobytes())


def _noise(width: int, height: int, seed: int = 0) -> RawImage:
    pixels = np.random.default_rng(seed).bytes(width * height * 3)
    return RawImage(width=width, height=height, pixels=pixels)


def _opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def _facts(image: Image.Image) -> dict[str, str]:
    """What readers of other tools find: text chunks, or UserComment and ImageDescription."""
    if image.format == "PNG":
        return dict(image.text)  # type: ignore[attr-defined]
    exif = image.getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"UNICODE\0")
    return {"parameters": comment[8:].decode("utf-16-be"), **json.loads(exif[0x010E])}


@pytest.mark.parametrize(("fmt", "quality"), [("png", 1), ("png", 95), ("webp", 100)])
@pytest.mark.parametrize(("width", "height"), [(8, 8), (64, 8), (24, 72)])
def test_lossless_formats_keep_every_pixel(fmt: OutputFormat, quality: int, width: int, height: int) -> None:
    raw = _noise(width, height)
    image = _opened(encode(raw, fmt, quality, FACTS))
    assert image.format == fmt.upper()
    assert image.size == (width, height)
    assert image.convert("RGB").tobytes() == raw.pixels


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_lossy_formats_come_close_and_closer_with_quality(fmt: OutputFormat) -> None:
    raw = _smooth()
    errors = [_error(raw, encode(raw, fmt, quality, FACTS)) for quality in (5, 60, 99)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 2


def test_quality_does_not_change_a_png() -> None:
    assert encode(_smooth(), "png", 1, FACTS) == encode(_smooth(), "png", 100, FACTS)


@pytest.mark.parametrize("fmt", FORMATS)
def test_equal_images_are_equal_files(fmt: OutputFormat) -> None:
    assert encode(_smooth(), fmt, 90, FACTS) == encode(_smooth(), fmt, 90, FACTS)


@pytest.mark.parametrize("fmt", FORMATS)
def test_facts_in_any_script_survive(fmt: OutputFormat) -> None:
    assert _facts(_opened(encode(_smooth(), fmt, 90, FACTS))) == FACTS


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(FORMATS), TEXT, TEXT)
def test_any_text_survives(fmt: OutputFormat, parameters: str, receipt: str) -> None:
    facts = {"parameters": parameters, "litestar-diffusion": receipt}
    assert _facts(_opened(encode(_noise(8, 8), fmt, 90, facts))) == facts


def test_ascii_stays_in_plain_chunks_and_the_rest_in_utf_8_ones() -> None:
    data = encode(_smooth(), "png", 90, {"parameters": "plain", "litestar-diffusion": "\u7ea2"})
    assert b"tEXtparameters\0plain" in data
    assert b"iTXtlitestar-diffusion\0" in data


@pytest.mark.parametrize("fmt", FORMATS)
def test_no_facts_are_no_error(fmt: OutputFormat) -> None:
    assert _opened(encode(_smooth(), fmt, 90, {})).size == (40, 24)


def test_a_jpeg_gives_up_the_receipt_before_the_parameters_and_both_before_failing() -> None:
    def comment(prompt: str) -> bytes | None:
        facts = {"parameters": prompt, "litestar-diffusion": prompt}
        exif = _opened(encode(_smooth(), "jpeg", 90, facts)).getexif()
        assert 0x010E not in exif
        return exif.get_ifd(0x8769).get(0x9286)

    kept = "\u7ea2" * 20_000
    assert comment(kept) == b"UNICODE\0" + kept.encode("utf-16-be")
    assert comment("\u7ea2" * 40_000) is None


@pytest.mark.parametrize("fmt", ["png", "webp"])
def test_other_formats_have_room_for_long_prompts(fmt: OutputFormat) -> None:
    facts = {"parameters": "\u7ea2" * 40_000, "litestar-diffusion": "\u7ea2" * 40_000}
    assert _facts(_opened(encode(_smooth(), fmt, 90, facts))) == facts


def test_the_writer_leaves_the_event_loop_free() -> None:
    """Other tasks run while a picture of a megapixel is being encoded."""

    async def scenario() -> tuple[bytes, int]:
        writer: ImageWriter = PillowImageWriter()
        writing = asyncio.ensure_future(writer.write(_noise(1024, 1024), "png", 95, FACTS))
        turns = 0
        while not writing.done():
            turns += 1
            await asyncio.wait([writing], timeout=0.001)
        return await writing, turns

    data, turns = asyncio.run(scenario())
    assert _opened(data).size == (1024, 1024)
    assert turns > 1


def _error(raw: RawImage, data: bytes) -> float:
    got = np.frombuffer(_opened(data).convert("RGB").tobytes(), np.uint8).astype(float)
    return float(np.abs(got - np.frombuffer(raw.pixels, np.uint8)).mean())
