"""Resolves what a request says about the pictures that it begins from."""

import math
from collections.abc import Iterator

from ...errors import FieldError
from ..parameters import GenerationParameters, Limits
from ..request import GenerationRequest
from .picture import MASKED_FROM, Upload, UploadField, Uploads
from .source import FromImage, FromMaskedImage, FromNoise, Source

DEFAULT_STRENGTH = 0.6
_DEFAULTS = GenerationParameters(prompt="")
_OF_IMAGE = ("strength", "resize")
_OF_MASK = ("mask_invert", "mask_blur_px", "mask_content", "mask_padding_px")


def source_of(parameters: GenerationParameters, uploads: Uploads) -> Source:
    """Choose the source of a request's first latents."""
    if uploads.image is None:
        return FromNoise()
    strength = DEFAULT_STRENGTH if parameters.strength is None else parameters.strength
    if uploads.mask is None:
        return FromImage(
            image=uploads.image, image_sha256=uploads.image.digest, strength=strength, resize=parameters.resize
        )
    return FromMaskedImage(
        image=uploads.image,
        mask=uploads.mask,
        image_sha256=uploads.image.digest,
        mask_sha256=uploads.mask.digest,
        strength=strength,
        resize=parameters.resize,
        mask_invert=parameters.mask_invert,
        mask_blur_px=parameters.mask_blur_px,
        mask_content=parameters.mask_content,
        mask_padding_px=parameters.mask_padding_px,
    )


def size_for(image: Upload, limits: Limits, multiple_px: int) -> tuple[int, int]:
    """Return the width and height in which a picture is denoised by default.

    They are its own, scaled into the limits if they are beyond them, and rounded down to the family's multiple.
    """
    pixels = image.width * image.height
    longer, shorter = max(image.width, image.height), min(image.width, image.height)
    scale = min(1.0, limits.max_side_px / longer, (limits.max_pixels / pixels) ** 0.5)
    scale = max(scale, min(limits.min_side_px / shorter, limits.max_side_px / longer))
    least = -(-limits.min_side_px // multiple_px) * multiple_px
    return (
        max(int(image.width * scale) // multiple_px * multiple_px, least),
        max(int(image.height * scale) // multiple_px * multiple_px, least),
    )


def picture_errors(parameters: GenerationParameters) -> Iterator[FieldError]:
    """Find fields that act on a picture that is not there."""
    if parameters.image is None and parameters.mask is not None:
        yield FieldError(field="image", message="is required beside mask: the picture that the mask belongs to")
    for name in ("image", "mask"):
        digest = getattr(parameters, f"{name}_sha256")
        if digest is not None and getattr(parameters, name) is None:
            yield FieldError(
                field=name, message=f"is required: {name}_sha256 names the file {digest[:12]}…; send it again beside it"
            )


def too_few_steps(request: GenerationRequest) -> FieldError | None:
    """Return the error of a strength with which no step is left; None if there is one."""
    if request.denoising_steps >= 1:
        return None
    assert not isinstance(request.source, FromNoise)
    steps = request.num_inference_steps
    return FieldError(
        field="strength",
        message=f"{request.source.strength:g} of {steps} steps is less than one step; "
        f"use at least {math.ceil(1000 / steps) / 1000:g}, or more num_inference_steps",
    )


def picture_warnings(parameters: GenerationParameters, request: GenerationRequest, uploads: Uploads) -> Iterator[str]:
    """Tell what was changed of the pictures, and which fields had no effect."""
    yield from uploads.warnings
    for name, picture in (("image", uploads.image), ("mask", uploads.mask)):
        expected = getattr(parameters, f"{name}_sha256")
        if picture is not None and expected not in (None, picture.digest):
            yield f"{name} is another file than {name}_sha256 says ({picture.digest[:12]}… beside {expected[:12]}…)."
    if uploads.mask is None:
        yield from _without_effect(parameters, "mask", _OF_MASK)
    image = uploads.image
    if image is None:
        yield from _without_effect(parameters, "image", _OF_IMAGE)
        return
    asked = parameters.width is not None or parameters.height is not None
    if (image.width, image.height) != (request.width, request.height) and parameters.mask_padding_px is None:
        how = f"resized ({parameters.resize})" if asked else "resized to sides and an area that can be denoised"
        yield f"image was {how} from {image.width} x {image.height} to {request.width} x {request.height}."
    if uploads.mask is not None:
        yield from _mask_warnings(parameters, image, uploads.mask)


def _without_effect(parameters: GenerationParameters, picture: UploadField, names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        if getattr(parameters, name) != getattr(_DEFAULTS, name):
            yield f"{name} has no effect without {picture}."


def _mask_warnings(parameters: GenerationParameters, image: Upload, mask: Upload) -> Iterator[str]:
    # Sides that were rounded to whole pixels are the same shape.
    if abs(mask.width * image.height - mask.height * image.width) > max(image.width, image.height):
        yield (
            f"mask has another shape than image, {mask.width} x {mask.height} beside {image.width} x {image.height}: it was "
            "stretched."
        )
    if _marks_nothing(parameters, mask):
        how = "black or opaque, because of mask_invert" if parameters.mask_invert else "white or transparent"
        yield f"mask marks nothing, so the image stays as it is: painted again is what is {how}."
    if parameters.mask_content in ("noise", "nothing") and parameters.strength == 1.0:
        yield "mask_content has no effect with strength 1: the masked part begins from noise alone."


def _marks_nothing(parameters: GenerationParameters, mask: Upload) -> bool:
    if mask.levels is None or parameters.resize == "pad":  # which paints the borders that it adds
        return False
    least, greatest = mask.levels
    return least >= MASKED_FROM if parameters.mask_invert else greatest < MASKED_FROM
