"""Types of fields that several requests have, each with its bounds; a field of its own says what it is for."""

from typing import Annotated, Literal

from msgspec import Meta

from ..validation import OTHER_NAMES

MAX_COUNT = 2**31 - 1
"""Larger numbers are refused when a body is decoded, so that no product of two is too long to be shown; `Limits` has the
limits that matter."""
MAX_SCALE = 8.0

Priority = Literal["low", "normal", "high"]
"""Requests of a higher priority go first, except before one that is overdue."""
OutputFormat = Literal["png", "jpeg", "webp"]
DEFAULT_QUALITY: dict[OutputFormat, int] = {"png": 95, "jpeg": 95, "webp": 100}
"""Qualities without visible loss. Lossy WebP stores colours at half the resolution, which costs 9 dB at 95 beside JPEG."""

StatedFormat = Annotated[
    OutputFormat,
    Meta(
        description="Of the image files. An Accept header that names an image type wins over it. Default: png.",
        extra={OTHER_NAMES: {"jpg": "jpeg"}},
    ),
]
StatedQuality = Annotated[
    int,
    Meta(ge=1, le=100, description="For jpeg and webp; webp at 100 is lossless. Default: 95 for jpeg, 100 for webp."),
]
SidePx = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Scale = Annotated[float, Meta(gt=1, le=MAX_SCALE)]
WidthBesideScale = Annotated[SidePx, Meta(description="In pixels, instead of `scale`; alone it keeps the shape.")]
HeightBesideScale = Annotated[SidePx, Meta(description="As `width`.")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
FileName = Annotated[str, Meta(max_length=256)]
FileVersion = Annotated[str, Meta(max_length=128)]
