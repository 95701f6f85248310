"""Translates what img2img has beside txt2img to the server's parameters. Pure functions."""

from collections.abc import Iterator

import msgspec

from ....domain.errors import FieldError, InvalidRequest
from ....domain.requests.parameters import GenerationParameters
from ....domain.requests.pictures.picture import MaskContent, Resize
from .img2img_wire import Img2ImgRequest
from .translation import Translation

_RESIZES: dict[int, Resize] = {0: "stretch", 1: "crop", 2: "pad"}
_LATENT_UPSCALE = 3
_CONTENTS: dict[int, MaskContent] = {0: "fill", 1: "original", 2: "noise", 3: "nothing"}


def with_picture(asked: Img2ImgRequest, text: Translation) -> Translation:
    """Add the picture, the mask and what is done with them.

    Args:
        asked: the request.
        text: the translation of its fields that txt2img has too.

    Raises:
        InvalidRequest: with every field without which the picture would be another one.
    """
    if errors := list(_refused(asked)):
        raise InvalidRequest(errors)
    mask = asked.mask or None
    parameters: GenerationParameters = msgspec.structs.replace(
        text.parameters,
        image=asked.init_images[0],
        mask=mask,
        strength=min(asked.denoising_strength, 1.0),
        resize=_RESIZES[asked.resize_mode],
        mask_invert=bool(asked.inpainting_mask_invert) if mask else False,
        mask_blur_px=asked.mask_blur if mask else text.parameters.mask_blur_px,
        mask_content=_CONTENTS[asked.inpainting_fill] if mask else "original",
        mask_padding_px=asked.inpaint_full_res_padding if mask and asked.inpaint_full_res else None,
    )
    return Translation(parameters=parameters, warnings=(*text.warnings, *_warnings(asked)))


def _refused(asked: Img2ImgRequest) -> Iterator[FieldError]:
    if len(asked.init_images) != 1:
        yield FieldError(field="init_images", message=f"must hold one picture, got {len(asked.init_images)}")
    if asked.resize_mode == _LATENT_UPSCALE:
        yield FieldError(field="resize_mode", message="must be 0, 1 or 2: latents are not resized here, got 3")
    if asked.latent_mask:
        yield FieldError(field="latent_mask", message="does not exist here. Send `mask`")
    if not 0 < asked.denoising_strength <= 1:
        message = f"must be above 0 and up to 1, got {asked.denoising_strength:g}"
        yield FieldError(field="denoising_strength", message=message)


def _warnings(asked: Img2ImgRequest) -> Iterator[str]:
    if asked.mask and asked.mask_blur_x != asked.mask_blur_y:
        yield "mask_blur_x and mask_blur_y were ignored: mask_blur is for both."
