"""Sizes that a file format can hold: an image beyond them could be made, and not written."""

from collections.abc import Iterator, Mapping

from ...errors import FieldError
from ..fields import OutputFormat

_MAX_SIDE_PX: Mapping[OutputFormat, int] = {"webp": 16383, "jpeg": 65500}
"""14 bits in WebP; JPEG_MAX_DIMENSION of libjpeg. PNG holds more than any limit lets through."""


def format_errors(fmt: OutputFormat, width: int, height: int) -> Iterator[FieldError]:
    """Find a format that cannot hold an image of `width` x `height` pixels."""
    longer = max(width, height)
    if longer <= _MAX_SIDE_PX.get(fmt, longer):
        return
    able = " or ".join(other for other in ("png", "jpeg") if longer <= _MAX_SIDE_PX.get(other, longer))
    yield FieldError(
        field="output_format",
        message=f"{fmt} holds at most {_MAX_SIDE_PX[fmt]} pixels a side, and the image has {width} x {height}; use {able}",
    )
