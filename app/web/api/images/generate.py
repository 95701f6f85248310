"""`POST /generate/{model_name}`."""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, QueryParameter, SkipValidation

from ....domain.errors import FieldError, InvalidRequest
from ....domain.requests.fields import OutputFormat
from ....domain.requests.parameters import GenerationParameters
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
    NOT_DOWNLOADED,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNKNOWN,
    UNUSABLE,
    WRONG_FIELDS,
    ModelNameInPath,
)
from ...http.large_json import LargeJSON
from ...http.media_types import IMAGES
from ...http.route_groups import in_group, is_mounted, with_pictures
from ..jobs.routes import IdempotencyKey, Prefer, accepted, prefers_async
from ..jobs.views import JobView
from ..views import GenerateView, generate_view
from .dry_run_view import DryRunView, dry_run_view
from .generate_openapi import GenerateOperation
from .image_headers import image_headers

PATH = "/generate/{model_name:str}"
RESPONSES = {
    202: ResponseSpec(JobView, description="With `Prefer: respond-async`: it is on its way.", generate_examples=False),
    200: ResponseSpec(
        GenerateView | DryRunView,
        description="The images in base64; with `Accept: image/png`, `image/jpeg` or `image/webp` and n = 1 the file "
        "itself, with the same facts in `x-` headers. With `dry_run=true` what would happen, always as JSON.",
        generate_examples=False,
    ),
    400: WRONG_FIELDS,
    403: FOREIGN,
    404: UNKNOWN,
    406: NOT_ACCEPTABLE,
    408: TOO_SLOW,
    409: CONFLICT,
    413: TOO_LARGE,
    415: NOT_JSON,
    422: UNUSABLE,
    429: TOO_MANY,
    500: FAILED,
    502: NOT_DOWNLOADED,
    503: BUSY,
}
DryRunFlag = Annotated[
    bool,
    QueryParameter(
        description="Only tell what would happen: the resolved parameters, tokens, sampler, memory, evictions and "
        "seconds. Nothing is loaded, queued or evicted; what is wrong with the request is said as usual."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What the headers and the query of a request say about its answer."""

    accept: str | None
    idempotency_key: str | None
    prefer: str
    dry_run: bool


@post(
    PATH,
    status_code=200,
    dto=JSONBodyDTO[GenerationParameters],
    return_dto=None,
    operation_class=GenerateOperation,
    summary="Make images",
    tags=["generation"],
    opt=in_group("generate") | requires("generate") | with_pictures(),
    responses=RESPONSES,
)
async def generate(
    request: Request[Any, Any, Any],
    model_name: ModelNameInPath,
    data: JSONBody[GenerationParameters],
    generation: NamedDependency[SkipValidation[GenerationService]],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = "",
    dry_run: DryRunFlag = False,
) -> Response[Any]:
    """Make images with a model, loading it first if need be, and wait for them.

    If the client goes away, the work stops at its next step; with an `Idempotency-Key`, once the last client that waits for it
    has gone.
    """
    accept = request.headers.get("accept")
    call = Call(accept=accept, idempotency_key=idempotency_key, prefer=prefer, dry_run=dry_run)
    return await answer(request, model_name, data, generation, call)


async def answer(
    request: Request[Any, Any, Any],
    model_name: str,
    data: GenerationParameters,
    generation: GenerationService,
    call: Call,
) -> Response[Any]:
    """Answer `POST /generate/{model_name}`: with the images, an image, a job or a dry run."""
    later = prefers_async(call.prefer) and not call.dry_run and is_mounted(request.route_handler, "jobs")
    raw = None if later else wanted_image(call.accept, data.output_format)
    parameters = data if raw is None else msgspec.structs.replace(data, output_format=raw)
    if wrong := _too_many_for_raw(parameters, raw):
        raise InvalidRequest(wrong)
    if call.dry_run:
        return Response(dry_run_view(await generation.dry_run(request, model_name, parameters)))
    if later:
        job = await generation.send(request, model_name, parameters, idempotency_key=call.idempotency_key)
        return accepted(request, job, applied=True)
    generated = await generation.generate(request, model_name, parameters, idempotency_key=call.idempotency_key)
    if raw is not None:
        return Response(generated.images[0].data, media_type=IMAGES[raw], headers={**image_headers(generated), **VARY})
    return LargeJSON(generate_view(generated), headers=VARY)


def _too_many_for_raw(parameters: GenerationParameters, raw: OutputFormat | None) -> list[FieldError]:
    if raw is None or parameters.n == 1:
        return []
    message = f"must be 1 if the Accept header asks for a single image, got {parameters.n}; accept application/json"
    return [FieldError(field="n", message=message)]
