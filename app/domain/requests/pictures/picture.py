"""Pictures that a request brings along."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    FileContent = bytes | memoryview
else:
    # msgspec decodes base64 to it, and lets through a view of a large file on disk, without a copy, and not through `bytes`.
    FileContent = memoryview
"""The bytes of a file that was sent: in memory, or a view of a file on disk."""
Resize = Literal["crop", "pad", "stretch"]
"""How a picture is brought to another shape: parts of it are cut off, its borders are continued, or it is distorted."""

MaskContent = Literal["original", "fill", "noise", "nothing"]
"""What the masked part begins from: the picture, the blurred colours around it, noise of the seed, or empty latents."""


MASKED_FROM = 128
"""Least value of a mask at which a pixel is painted again."""
UploadField = Literal["image", "mask"]
"""Field of a request that a picture was sent in; it decides how the file is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded picture: `pixels` holds height x width x channels bytes, row by row. Equal if its digest is."""

    digest: str
    """SHA-256 of the file that it came from, or of its pixels if it was made from others."""
    width: int = dataclasses.field(compare=False)
    height: int = dataclasses.field(compare=False)
    channels: Literal[1, 3] = dataclasses.field(compare=False)
    """3: RGB. 1: a mask, 255 where it is painted again."""
    pixels: bytes = dataclasses.field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The file of a picture as it was sent, which can be decoded. Equal if its field and digest are."""

    field: UploadField
    digest: str
    """SHA-256 of the file."""
    width: int = dataclasses.field(compare=False)
    """Of the upright picture, as `height` is."""
    height: int = dataclasses.field(compare=False)
    levels: tuple[int, int] | None = dataclasses.field(default=None, compare=False)
    """Least and greatest value of a mask, 255 where it is painted again; None for an image."""
    data: FileContent = dataclasses.field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """The pictures that one request brings along."""

    image: Upload | None = None
    mask: Upload | None = None
    warnings: tuple[str, ...] = ()
    """What was changed while they were read."""

    @property
    def pixel_nbytes(self) -> int:
        """Bytes of the decoded pictures: three channels, and one of the mask."""
        sizes = ((self.image, 3), (self.mask, 1))
        return sum(upload.width * upload.height * channels for upload, channels in sizes if upload is not None)


NO_UPLOADS = Uploads()
