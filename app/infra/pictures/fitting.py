"""Brings pictures and masks to the size in which they are denoised, and lays the result over the original. Blocks."""

import hashlib
from dataclasses import replace

from PIL import Image, ImageChops, ImageFilter, ImageOps

from ...domain.requests.pictures.picture import MASKED_FROM, Picture, Resize
from ...domain.requests.pictures.source import Canvas, FromMaskedImage, Region
from ...domain.requests.rendering import RawImage

_FILL_BLURS = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))
"""Radius in pixels and repetitions of each layer, the widest at the bottom; the values of AUTOMATIC1111's web UI."""


def fitted(picture: Picture, width: int, height: int, resize: Resize) -> Picture:
    """Bring a picture to a size; the picture itself if it has it."""
    if (picture.width, picture.height) == (width, height):
        return picture
    return _of(_resized(_image(picture), (width, height), resize))


def resized(image: RawImage, width: int, height: int, resize: Resize) -> Picture:
    """Make a picture of a size of a finished image."""
    picture = Image.frombuffer("RGB", (image.width, image.height), image.pixels, "raw", "RGB", 0, 1)
    return _of(picture if picture.size == (width, height) else _resized(picture, (width, height), resize))


def masked(source: FromMaskedImage, width: int, height: int) -> FromMaskedImage:
    """Prepare a picture and its mask, decoded: the region that is denoised in `width` x `height`, and what it is laid over."""
    assert isinstance(source.image, Picture)
    assert isinstance(source.mask, Picture)
    whole = source.mask_padding_px is None
    picture = _image(source.image)
    mask = _image(source.mask).resize(picture.size)
    if source.mask_invert:
        mask = ImageOps.invert(mask)
    if whole and picture.size != (width, height):
        mask = _resized_mask(mask, (width, height), source.resize)
        picture = _resized(picture, (width, height), source.resize)
    mask = mask.point([255 if value >= MASKED_FROM else 0 for value in range(256)])
    region = Region(left=0, top=0, width=picture.width, height=picture.height)
    if not whole:
        region = _region(mask, source.mask_padding_px or 0, width / height)
    canvas = Canvas(picture=_of(picture), mask=_of(_faded(mask, source.mask_blur_px)), region=region)
    if source.mask_content == "fill":
        picture = filled(picture, mask)
    box = (region.left, region.top, region.left + region.width, region.top + region.height)
    return replace(
        source,
        image=_of(_scaled(picture.crop(box), (width, height))),
        mask=_of(mask.crop(box).resize((width, height), Image.Resampling.NEAREST)),
        canvas=canvas,
    )


def composed(canvas: Canvas, painted: RawImage) -> RawImage:
    """Lay the painted region over the picture; where the mask is 0, every byte stays."""
    picture, region = _image(canvas.picture), canvas.region
    part = Image.frombuffer("RGB", (painted.width, painted.height), painted.pixels, "raw", "RGB", 0, 1)
    over = picture.copy()
    over.paste(_scaled(part, (region.width, region.height)), (region.left, region.top))
    result = Image.composite(over, picture, _image(canvas.mask))
    return RawImage(width=result.width, height=result.height, pixels=result.tobytes())


def filled(picture: Image.Image, mask: Image.Image) -> Image.Image:
    """Replace the masked part by the colours around it: blurred widely first, then less and less, from its border inwards."""
    outside = ImageOps.invert(mask)
    known = Image.new("RGBa", picture.size)  # premultiplied, so that what is masked adds no black when it is blurred
    known.paste(picture.convert("RGBA").convert("RGBa"), mask=outside)
    result = Image.new("RGBA", picture.size)
    for radius_px, times in _FILL_BLURS:
        blurred = known.filter(ImageFilter.GaussianBlur(radius_px)).convert("RGBA")
        for _ in range(times):
            result.alpha_composite(blurred)
    return Image.composite(picture, result.convert("RGB"), outside)


def _resized(picture: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    match resize:
        case "crop":
            return ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
        case "pad":
            return _padded(ImageOps.contain(picture, size, Image.Resampling.LANCZOS), size)
        case "stretch":
            return picture.resize(size, Image.Resampling.LANCZOS)


def _resized_mask(mask: Image.Image, size: tuple[int, int], resize: Resize) -> Image.Image:
    """Resize a mask as its picture; what is added around it is painted."""
    if resize != "pad":
        return _resized(mask, size, resize)
    inner = ImageOps.contain(mask, size, Image.Resampling.LANCZOS)
    outer = Image.new("L", size, 255)
    outer.paste(inner, _corner(inner.size, size))
    return outer


def _padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Put a picture into the middle of a larger one, and continue its borders outwards."""
    left, top = _corner(picture.size, size)
    rows = Image.new(picture.mode, (size[0], picture.height))
    rows.paste(picture.crop((0, 0, 1, picture.height)).resize(rows.size), (0, 0))
    last = picture.crop((picture.width - 1, 0, picture.width, picture.height))
    rows.paste(last.resize(rows.size), (left, 0))
    rows.paste(picture, (left, 0))
    whole = Image.new(picture.mode, size)
    whole.paste(rows.crop((0, 0, size[0], 1)).resize(size), (0, 0))
    last = rows.crop((0, rows.height - 1, size[0], rows.height))
    whole.paste(last.resize(size), (0, top))
    whole.paste(rows, (0, top))
    return whole


def _corner(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def _region(mask: Image.Image, padding_px: int, aspect: float) -> Region:
    """Find the rectangle around the masked part, padded, and enlarged to an aspect ratio as far as the picture reaches."""
    left, top, right, bottom = mask.getbbox() or (0, 0, mask.width, mask.height)
    left, top = max(left - padding_px, 0), max(top - padding_px, 0)
    right, bottom = min(right + padding_px, mask.width), min(bottom + padding_px, mask.height)
    width, height = right - left, bottom - top
    if width < height * aspect:
        left, width = _widened(left, width, min(round(height * aspect), mask.width), mask.width)
    else:
        top, height = _widened(top, height, min(round(width / aspect), mask.height), mask.height)
    return Region(left=left, top=top, width=width, height=height)


def _widened(begin: int, length: int, wanted: int, available: int) -> tuple[int, int]:
    begin = min(max(begin - (wanted - length) // 2, 0), available - wanted)
    return begin, wanted


def _faded(mask: Image.Image, blur_px: int) -> Image.Image:
    """Let a mask fade inwards from its border, so that nothing outside of it changes."""
    if not blur_px:
        return mask
    blurred = mask.filter(ImageFilter.GaussianBlur(blur_px / 2))
    inward = blurred.point([max(0, 2 * value - 255) for value in range(256)])
    return ImageChops.darker(inward, mask)


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _image(picture: Picture) -> Image.Image:
    mode = "L" if picture.channels == 1 else "RGB"
    return Image.frombuffer(mode, (picture.width, picture.height), picture.pixels, "raw", mode, 0, 1)


def _of(image: Image.Image) -> Picture:
    pixels = image.tobytes()
    digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + pixels).hexdigest()
    channels = 1 if image.mode == "L" else 3
    return Picture(digest=digest, width=image.width, height=image.height, channels=channels, pixels=pixels)
