"""Encodes pictures with Pillow, in worker threads."""

import asyncio
import io
import json
from collections.abc import Mapping

from PIL import Image, TiffTags
from PIL.PngImagePlugin import PngInfo

from ..domain.requests.fields import OutputFormat
from ..domain.requests.rendering import RawImage

_PARAMETERS_KEY = "parameters"
_IMAGE_DESCRIPTION = 0x010E
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
# Pillow's table lacks this tag and would write it as BYTE, with which other readers refuse it; EXIF 2.3 says UNDEFINED.
TiffTags.TAGS_V2_GROUPS[_EXIF_IFD][_USER_COMMENT] = TiffTags.TagInfo(
    _USER_COMMENT, "UserComment", TiffTags.UNDEFINED, 0
)
_JPEG_EXIF_NBYTES = 65533 - len(b"Exif\0\0")
"""JPEG segments have 16-bit lengths."""
_FULL_COLOUR_QUALITY = 90
"""Quality from which JPEG keeps a colour for every pixel, not one for four."""


class PillowImageWriter:
    """Fulfils `ImageWriter`."""

    async def write(self, image: RawImage, fmt: OutputFormat, quality: int, facts: dict[str, str]) -> bytes:
        """Encode one picture with its generation data. See `encode`."""
        return await asyncio.to_thread(encode, image, fmt, quality, facts)


def encode(image: RawImage, fmt: OutputFormat, quality: int, facts: Mapping[str, str]) -> bytes:
    """Encode one picture; blocks for tens of milliseconds.

    PNG carries every fact as a text chunk under its own key. JPEG and WebP carry `parameters` as the EXIF UserComment,
    where AUTOMATIC1111's web UI puts it, and the others as a JSON object in ImageDescription. A JPEG has room for
    64 KiB of them: if they are too long, the description is dropped first, then the comment.
    """
    picture = Image.frombuffer("RGB", (image.width, image.height), image.pixels, "raw", "RGB", 0, 1)
    buffer = io.BytesIO()
    match fmt:
        case "png":
            picture.save(buffer, "PNG", compress_level=1, pnginfo=_text_chunks(facts))
        case "jpeg":
            subsampling = "4:4:4" if quality >= _FULL_COLOUR_QUALITY else "4:2:0"
            exif = _fitting_exif(facts, _JPEG_EXIF_NBYTES)
            picture.save(buffer, "JPEG", quality=quality, subsampling=subsampling, exif=exif)
        case "webp":
            lossless = quality == 100
            picture.save(
                buffer, "WEBP", lossless=lossless, quality=0 if lossless else quality, method=0, exif=_exif(facts)
            )
    return buffer.getvalue()


def _text_chunks(facts: Mapping[str, str]) -> PngInfo:
    """Plain chunks are Latin-1, and readers disagree about anything but ASCII in them; iTXt is UTF-8."""
    chunks = PngInfo()
    for key, text in facts.items():
        if text.isascii():
            chunks.add_text(key, text)
        else:
            chunks.add_itxt(key, text)
    return chunks


def _fitting_exif(facts: Mapping[str, str], limit_nbytes: int) -> bytes:
    comment_only = {key: text for key, text in facts.items() if key == _PARAMETERS_KEY}
    return next((exif for kept in (facts, comment_only) if len(exif := _exif(kept)) <= limit_nbytes), b"")


def _exif(facts: Mapping[str, str]) -> bytes:
    exif = Image.Exif()
    exif.endian = ">"  # some readers take the comment's byte order from here, others always expect this one
    described = {key: text for key, text in facts.items() if key != _PARAMETERS_KEY}
    if described:
        exif[_IMAGE_DESCRIPTION] = json.dumps(described)  # pure ASCII, as this tag must be
    if _PARAMETERS_KEY in facts:
        comment = b"UNICODE\0" + facts[_PARAMETERS_KEY].encode("utf-16-be")
        exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = comment
    return exif.tobytes()
