"""Pictures that a request brings along."""

from dataclasses import dataclass, field
from typing import Literal

Resize = Literal["crop", "pad", "stretch"]
"""How a picture is brought to another shape: parts of it are cut off, its borders are continued, or it is distorted."""

MaskContent = Literal["original", "fill", "noise", "nothing"]
"""What the masked part begins from: the picture, the blurred colours around it, noise of the seed, or empty latents."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded picture: `pixels` holds height x width x channels bytes, row by row. Equal if its digest is."""

    digest: str
    """SHA-256 of the file that it came from, or of its pixels if it was made from others."""
    width: int = field(compare=False)
    height: int = field(compare=False)
    channels: Literal[1, 3] = field(compare=False)
    """3: RGB. 1: a mask, 255 where it is painted again."""
    pixels: bytes = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """The pictures of one request as they were sent, upright and in RGB."""

    image: Picture | None = None
    mask: Picture | None = None
    warnings: tuple[str, ...] = ()
    """What was changed while they were read."""


NO_UPLOADS = Uploads()
