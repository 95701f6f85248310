"""`POST /upscale`."""

from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, SkipValidation

from ....domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ...auth.requirements import requires
from ...generation_service import GenerationService
from ...http.accept import VARY, wanted_image
from ...http.bodies.body import JSONBodyDTO
from ...http.errors.documented_errors import (
    BUSY,
    CONFLICT,
    FAILED,
    FOREIGN,
    NOT_ACCEPTABLE,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNUSABLE,
    WRONG_FIELDS,
)
from ...http.large_json import LargeJSON
from ...http.media_types import IMAGES
from ...http.route_groups import in_group, with_pictures
from ..jobs.routes import IdempotencyKey
from .image_headers import upscaled_headers
from .upscale_openapi import UpscaleOperation
from .upscale_views import UpscaleView, upscale_view


@post(
    "/upscale",
    status_code=200,
    dto=JSONBodyDTO[UpscaleParameters],
    return_dto=None,
    operation_class=UpscaleOperation,
    summary="Enlarge a picture",
    tags=["generation"],
    opt=in_group("upscale") | requires("generate") | with_pictures(),
    responses={
        200: ResponseSpec(
            UpscaleView,
            description="The picture in base64; with `Accept: image/png`, `image/jpeg` or `image/webp` the file itself.",
            generate_examples=False,
        ),
        400: WRONG_FIELDS,
        403: FOREIGN,
        406: NOT_ACCEPTABLE,
        408: TOO_SLOW,
        409: CONFLICT,
        413: TOO_LARGE,
        415: NOT_JSON,
        422: UNUSABLE,
        429: TOO_MANY,
        500: FAILED,
        503: BUSY,
    },
)
async def upscale(
    request: Request[Any, Any, Any],
    data: JSONBody[UpscaleParameters],
    generation: NamedDependency[SkipValidation[GenerationService]],
    idempotency_key: IdempotencyKey = None,
) -> Response[Any]:
    """Enlarge a picture with Lanczos or with an upscaler of `models/upscalers/`, and wait for it.

    A network works tile by tile, so other requests have their turn in between. If the client goes away, it stops at the next
    tile; with an `Idempotency-Key`, once the last client that waits for it has gone.
    """
    return await answer(request, data, generation, idempotency_key)


async def answer(
    request: Request[Any, Any, Any],
    data: UpscaleParameters,
    generation: GenerationService,
    idempotency_key: str | None,
) -> Response[Any]:
    """Answer `POST /upscale`: with JSON, or with the picture."""
    raw = wanted_image(request.headers.get("accept"), data.output_format)
    parameters = data if raw is None else msgspec.structs.replace(data, output_format=raw)
    upscaled = await generation.upscale(request, parameters, idempotency_key=idempotency_key)
    if raw is None:
        return LargeJSON(upscale_view(upscaled), headers=VARY)
    return Response(upscaled.image.data, media_type=IMAGES[raw], headers={**upscaled_headers(upscaled), **VARY})
