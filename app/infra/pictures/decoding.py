"""Turns an opened file into the pixels that a page would show, or the marks of a mask. Blocks."""

import struct
from collections.abc import Iterator

from PIL import Image, ImageOps

from ...domain.requests.pictures.picture import Picture

_STATES_FRAMES = ("PNG", "WEBP", "AVIF", "MPO")
"""Formats whose header holds the number of frames; MPO is what cameras make of several JPEG pictures."""
_BAD_EXIF = (SyntaxError, ValueError, TypeError, KeyError, EOFError, OSError, OverflowError, struct.error)
"""What Pillow raises for EXIF data that it cannot read."""
_WITHOUT_RANGE = ("I", "F")
"""Modes of samples with 32 bits, integers and floats."""


class Unreadable(Exception):
    """The file cannot be used; the message says why."""


def first_frame(name: str, file: Image.Image) -> Iterator[str]:
    """Warn of a file with several frames, of which Pillow shows the first."""
    if getattr(file, "is_animated", False):
        # Of GIF and TIFF, `n_frames` would walk through the whole file, in a time that grows with the square of the pages.
        frames = file.n_frames if file.format in _STATES_FRAMES else "several"  # pyright: ignore[reportAttributeAccessIssue]
        yield f"{name} has {frames} frames; the first was used."


def upright(name: str, file: Image.Image, warnings: list[str]) -> Image.Image:
    """Decode a file and turn it as its EXIF data says."""
    file.load()
    try:
        return ImageOps.exif_transpose(file)
    except _BAD_EXIF:
        warnings.append(f"{name} has EXIF data that cannot be read; the picture was not turned.")
        return file


def too_much_metadata(error: Exception) -> str | None:
    """Return the message for Pillow's own limits on what it decompresses of a PNG beside the pixels; None for other errors."""
    if "MAX_TEXT_" not in str(error):  # its constants, which its messages name
        return None
    return (
        "has a text chunk or a colour profile that unpacks to more than 1 MiB, or 64 MiB of texts; save it again without "
        "metadata"
    )


def rgb(picture: Image.Image, digest: str) -> Picture:
    """Convert to RGB; what is transparent becomes white, as a page would show it."""
    picture = _eight_bits(picture)
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return _picture(picture.convert("RGB"), digest)


def mask_of(picture: Image.Image, digest: str) -> Picture:
    """Read a mask: what is transparent if there is any transparency, otherwise what is bright."""
    picture = _eight_bits(picture)
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            return _picture(ImageOps.invert(alpha), digest)
    return _picture(picture.convert("L"), digest)


def levels_of(mask: Picture) -> tuple[int, int]:
    """Return the least and the greatest value of a mask."""
    least, greatest = Image.frombuffer("L", (mask.width, mask.height), mask.pixels, "raw", "L", 0, 1).getextrema()
    assert isinstance(least, int)
    assert isinstance(greatest, int)
    return least, greatest


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16-bit greys to 8 bits; Pillow's own conversion cuts them off at 255."""
    if picture.mode in _WITHOUT_RANGE:
        raise Unreadable(
            "has samples of 32 bits or signed ones, and no file states which value is white; save it with 8 or 16 bits a channel"
        )
    if not picture.mode.startswith("I;16"):
        return picture
    return picture.convert("I").point(lambda value: value / 257).convert("L")


def _picture(picture: Image.Image, digest: str) -> Picture:
    channels = 1 if picture.mode == "L" else 3
    return Picture(
        digest=digest, width=picture.width, height=picture.height, channels=channels, pixels=picture.tobytes()
    )
