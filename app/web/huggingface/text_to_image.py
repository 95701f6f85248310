"""`POST /generate/{model_name}` with the bodies of Hugging Face's clients beside the native ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ...domain.errors import FieldError, InvalidRequest
from ...domain.requests.parameters import GenerationParameters
from ...domain.requests.pictures.picture import FileContent
from ...domain.validation import cut
from ..api.images.generate import PATH, RESPONSES, Call, DryRunFlag, answer
from ..api.jobs.routes import IdempotencyKey, Prefer
from ..auth.requirements import requires
from ..generation_service import GenerationService
from ..http.errors.documented_errors import ModelNameInPath
from ..http.errors.renamed import renamed_fields
from ..http.route_groups import in_group, with_pictures
from .body import EitherBodyDTO
from .errors import exception_handlers
from .openapi import EitherOperation
from .wire import InferenceRequest, PictureRequest


@post(
    PATH,
    status_code=200,
    dto=EitherBodyDTO,
    return_dto=None,
    exception_handlers=exception_handlers(),
    operation_class=EitherOperation,
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

    A body with `inputs` is that of Hugging Face's clients, `InferenceClient(model=<this URL>).text_to_image(...)` and
    `image_to_image(...)`: the answer is the image itself unless `Accept` asks for JSON, and error documents have the member
    `error`, which those clients show.

    If the client goes away, the work stops at its next step; with an `Idempotency-Key`, once the last client that waits for it
    has gone.
    """
    accept = request.headers.get("accept")
    call = Call(accept=accept, idempotency_key=idempotency_key, prefer=prefer, dry_run=dry_run)
    if not isinstance(data, (InferenceRequest, PictureRequest)):
        return await answer(request, model_name, data, generation, call)
    call = replace(call, accept=_image_first(accept))
    with renamed_fields(_their_names(data), prefix="parameters."):
        return await answer(request, model_name, native_parameters(data), generation, call)


def native_parameters(body: InferenceRequest | PictureRequest) -> GenerationParameters:
    """Translate a body to the native parameters.

    Raises:
        InvalidRequest: it names a scheduler and a sampler.
    """
    stated = {name: value for name, value in msgspec.structs.asdict(body.parameters).items() if value is not None}
    scheduler = stated.pop("scheduler", None)
    if scheduler is not None and "sampler" in stated:
        message = f"must be absent beside sampler {cut(stated['sampler'])!r}, got {cut(scheduler)!r}"
        raise InvalidRequest([FieldError(field="scheduler", message=message)])
    if isinstance(body, PictureRequest):
        return _from_picture(body.inputs, {"sampler": scheduler, **stated})
    return GenerationParameters(prompt=body.inputs, **{"sampler": scheduler, **stated})


def _from_picture(image: FileContent, stated: dict[str, Any]) -> GenerationParameters:
    size = stated.pop("target_size", None)
    if size is not None:
        stated = {"width": size.width, "height": size.height, **stated}
    return GenerationParameters(**{"prompt": "", **stated, "image": image})


def _their_names(body: InferenceRequest | PictureRequest) -> Mapping[str, str]:
    """Return the client's names of fields, by the server's own."""
    scheduler = {} if body.parameters.scheduler is None else {"sampler": "parameters.scheduler"}
    if not isinstance(body, PictureRequest):
        return {"prompt": "inputs", **scheduler}
    stated = body.parameters.target_size is not None
    size = {side: f"parameters.target_size.{side}" for side in ("width", "height") if stated}
    return {"image": "inputs", **size, **scheduler}


def _image_first(accept: str | None) -> str:
    """Return what to accept if a client leaves the choice open: an image, as Hugging Face's servers send."""
    return "image/*" if accept in (None, "*/*") else accept
