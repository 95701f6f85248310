"""`POST /sdapi/v1/extra-single-image` and `extra-batch-images`: enlarge pictures."""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import Meta

from ...domain.errors import FieldError, InvalidRequest
from ...domain.requests.fields import Scale, SidePx
from ...domain.requests.pictures.picture import FileContent
from ...domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ..auth.requirements import requires
from ..generation_service import GenerationService
from ..http.bodies.body import LenientBodyDTO
from ..http.errors.documented_errors import FOREIGN
from ..http.errors.renamed import renamed_fields
from ..http.route_groups import in_group, with_pictures
from .errors import BUSY, FAILED, TOO_LARGE, TOO_MANY, WRONG
from .openapi import A1111Operation
from .upscalers import NONE, upscaler_of

_MAX_PICTURES = 16
_NAMES = {
    "upscaler": "upscaler_1",
    "scale": "upscaling_resize",
    "width": "upscaling_resize_w",
    "height": "upscaling_resize_h",
}
"""Fields of these routes, by those of `POST /upscale`."""
_RESPONSES = {
    403: FOREIGN,
    413: TOO_LARGE,
    422: WRONG,
    429: TOO_MANY,
    500: FAILED,
    503: BUSY,
}


class ExtrasRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What both routes have in common."""

    resize_mode: Annotated[
        int,
        Meta(ge=0, le=1, description="0: by `upscaling_resize`; 1: to `upscaling_resize_w` x `upscaling_resize_h`."),
    ] = 0
    show_extras_results: bool = True
    gfpgan_visibility: Annotated[float, Meta(description="Refused unless 0.")] = 0.0
    codeformer_visibility: Annotated[float, Meta(description="Refused unless 0.")] = 0.0
    codeformer_weight: float = 0.0
    upscaling_resize: Annotated[Scale, Meta(description="Factor of both sides.")] = 2.0
    upscaling_resize_w: SidePx = 512
    upscaling_resize_h: SidePx = 512
    upscaling_crop: Annotated[bool, Meta(description="Refused if false and `resize_mode` is 1.")] = True
    upscaler_1: Annotated[
        str, Meta(description="`GET /sdapi/v1/upscalers` lists them; `None` returns the picture.", examples=["demo-x2"])
    ] = NONE
    upscaler_2: Annotated[str, Meta(description="Refused unless `None`, or its visibility is 0.")] = NONE
    extras_upscaler_2_visibility: float = 0.0
    upscale_first: bool = False


class SingleImageRequest(ExtrasRequest, frozen=True, kw_only=True):
    """One picture."""

    image: Annotated[FileContent, Meta(description="A file in base64, with or without `data:...;base64,`.")]


class FileData(msgspec.Struct, frozen=True, kw_only=True):
    """One of several pictures."""

    data: Annotated[FileContent, Meta(description="A file in base64, with or without `data:...;base64,`.")]
    name: str = ""


class BatchImagesRequest(ExtrasRequest, frozen=True, kw_only=True):
    """Several pictures."""

    image_list: Annotated[list[FileData], Meta(max_length=_MAX_PICTURES)] = msgspec.field(name="imageList")


class SingleImageAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The enlarged picture."""

    html_info: Annotated[str, Meta(description="Warnings, a line each; without markup.")]
    image: Annotated[bytes, Meta(description="A PNG file in base64.")]


class BatchImagesAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The enlarged pictures."""

    html_info: Annotated[str, Meta(description="Warnings, a line each; without markup.")]
    images: Annotated[list[bytes], Meta(description="PNG files in base64, in the order of the request.")]


@post(
    "/sdapi/v1/extra-single-image",
    status_code=200,
    dto=LenientBodyDTO[SingleImageRequest],
    return_dto=None,
    summary="Enlarge a picture",
    operation_id="a1111_extra_single_image",
    response_description="The picture.",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate") | with_pictures(),
    operation_class=A1111Operation,
    responses=_RESPONSES,
)
async def extra_single_image(
    request: Request[Any, Any, Any],
    data: JSONBody[SingleImageRequest],
    generation: NamedDependency[SkipValidation[GenerationService]],
) -> SingleImageAnswer:
    """Enlarge a picture with an upscaler of `GET /sdapi/v1/upscalers`."""
    _refuse(data)
    image, warnings = await _enlarged(request, data, data.image, generation)
    return SingleImageAnswer(html_info="\n".join(warnings), image=image)


@post(
    "/sdapi/v1/extra-batch-images",
    status_code=200,
    dto=LenientBodyDTO[BatchImagesRequest],
    return_dto=None,
    summary="Enlarge pictures",
    operation_id="a1111_extra_batch_images",
    response_description="The pictures.",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate") | with_pictures(),
    operation_class=A1111Operation,
    responses=_RESPONSES,
)
async def extra_batch_images(
    request: Request[Any, Any, Any],
    data: JSONBody[BatchImagesRequest],
    generation: NamedDependency[SkipValidation[GenerationService]],
) -> BatchImagesAnswer:
    """Enlarge pictures one after the other, with an upscaler of `GET /sdapi/v1/upscalers`."""
    _refuse(data)
    done = [await _enlarged(request, data, each.data, generation) for each in data.image_list]
    lines = dict.fromkeys(line for _, warnings in done for line in warnings)
    return BatchImagesAnswer(html_info="\n".join(lines), images=[image for image, _ in done])


async def _enlarged(
    request: Request[Any, Any, Any], asked: ExtrasRequest, image: FileContent, generation: GenerationService
) -> tuple[bytes, tuple[str, ...]]:
    if asked.upscaler_1 in ("", NONE):
        return bytes(image), ("upscaler_1 is None: the picture was not changed.",)
    by_factor = asked.resize_mode == 0
    parameters = UpscaleParameters(
        image=image,
        scale=asked.upscaling_resize if by_factor else None,
        width=None if by_factor else asked.upscaling_resize_w,
        height=None if by_factor else asked.upscaling_resize_h,
        upscaler=upscaler_of(asked.upscaler_1),
    )
    with renamed_fields(_NAMES):
        upscaled = await generation.upscale(request, parameters)
    return upscaled.image.data, upscaled.warnings


def _refuse(asked: ExtrasRequest) -> None:
    if errors := list(_refused(asked)):
        raise InvalidRequest(errors)


def _refused(asked: ExtrasRequest) -> Iterator[FieldError]:
    for name in ("gfpgan_visibility", "codeformer_visibility"):
        if getattr(asked, name):
            yield FieldError(field=name, message="must be 0: face restoration does not exist here")
    if asked.extras_upscaler_2_visibility and asked.upscaler_2 not in ("", NONE):
        yield FieldError(field="upscaler_2", message="must be None: two upscalers are not blended here")
    if asked.resize_mode == 1 and not asked.upscaling_crop:
        message = "must be true with resize_mode 1: the picture gets exactly the size that is asked for"
        yield FieldError(field="upscaling_crop", message=message)
