"""Reads the texts in image files with Pillow, in worker threads, without decoding a pixel: large pictures cost no more."""

import asyncio
import io
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image, JpegImagePlugin, PngImagePlugin

from ..domain.errors import FieldError, InvalidRequest

_PNG, _JPEG, _RIFF, _WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF", b"WEBP"
_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
_MAKE, _MODEL, _DESCRIPTION = 0x010F, 0x0110, 0x010E
_COMFYUI_KEYS = ("prompt", "workflow")
"""ComfyUI writes `prompt: {...}` into any EXIF tag that holds text."""
_CHARSETS: Mapping[bytes, tuple[str, ...]] = {
    b"UNICODE\0": ("utf-16-be", "utf-16-le"),
    b"ASCII\0\0\0": ("ascii", "utf-8"),
    b"\0\0\0\0\0\0\0\0": ("utf-8",),
}
_UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, KeyError, TypeError, OverflowError, EOFError)
"""What Pillow raises for damaged files."""


class PillowEmbeddedTexts:
    """Fulfils `EmbeddedTexts`."""

    async def read(self, data: bytes) -> Mapping[str, str]:
        """Read the texts of a file; see `EmbeddedTexts.read`."""
        return await asyncio.to_thread(embedded_texts, data)


def embedded_texts(data: bytes) -> Mapping[str, str]:
    """Read the texts of a PNG, JPEG or WebP file.

    Raises:
        InvalidRequest: it is none of these, or damaged.
    """
    try:
        return _texts(data)
    except _UNREADABLE as error:
        message = f"is no PNG, JPEG or WebP file that can be read ({type(error).__name__})"
        raise InvalidRequest([FieldError(field="image", message=message)]) from error


def _texts(data: bytes) -> Mapping[str, str]:
    # The classes of the formats are called directly: Image.open warns of large pictures, whose pixels are not read here.
    if data.startswith(_PNG):
        picture = PngImagePlugin.PngImageFile(io.BytesIO(data))
        return {str(key): str(text) for key, text in picture.info.items() if isinstance(text, str)}  # not of a subclass
    if data.startswith(_JPEG):
        return dict(_exif_texts(JpegImagePlugin.JpegImageFile(io.BytesIO(data)).getexif()))
    if data.startswith(_RIFF) and data[8:12] == _WEBP:
        exif = Image.Exif()
        exif.load(_riff_chunk(data, b"EXIF"))
        return dict(_exif_texts(exif))
    raise ValueError("unknown format")


def _riff_chunk(data: bytes, name: bytes) -> bytes:
    """Return a chunk of a WebP file; empty if there is none. Pillow would allocate the canvas first."""
    place = 12
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == name:
            return data[place + 8 : place + 8 + size]
        place += 8 + size + size % 2
    return b""


def _exif_texts(exif: Image.Exif) -> Iterator[tuple[str, str]]:
    comment = exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if text := _comment(comment):
        yield "parameters", text
    for tag in (_DESCRIPTION, _MAKE, _MODEL):
        value = exif.get(tag)
        if not isinstance(value, str):
            continue
        key, _, rest = value.partition(":")
        yield (key.lower(), rest.strip()) if key.lower() in _COMFYUI_KEYS else (f"exif-{tag:04x}", value)


def _comment(comment: Any) -> str:
    """Decode an EXIF UserComment: eight bytes that name the character set, then the text."""
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes):
        return ""
    text = comment[8:]
    for charset in _CHARSETS.get(comment[:8], ("utf-8",)):
        try:
            decoded = text.decode(charset).strip("\0")
        except UnicodeDecodeError:
            continue
        # The standard does not say which byte order is meant. In the wrong one ASCII becomes rare scripts.
        if charset != "utf-16-be" or _looks_right(text):
            return decoded
    return ""


def _looks_right(text: bytes) -> bool:
    """Tell whether UTF-16 has its high bytes first: those of common text are 0."""
    return text[0::2].count(0) >= text[1::2].count(0)
