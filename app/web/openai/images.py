"""`/v1/images`."""

import hashlib
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter, SkipValidation

from ...domain import errors
from ...domain.errors import FieldError
from ...domain.models.catalogue import Catalogue
from ...domain.models.spec import ModelSpec
from ..api.service import ServiceFacts
from ..generation_service import GenerationService
from ..http.body import LenientBodyDTO, ignored_fields
from ..http.problems import problem_of
from ..http.refusals import refusal
from ..http.route_groups import in_group
from .answers import images_answer, warnings_header
from .errors import documented
from .stored_images import StoredImages
from .stream import image_stream
from .translation import translated
from .wire import ImagesAnswer, ImagesBody

_LINGER_S = 15.0
"""Seconds that work continues for the SDK, which comes back within 8 s after it has given a connection up."""
_RETRIES = "x-stainless-retry-count"
"""Header of OpenAI's SDKs: the number of times that this request was sent before."""
_NOT_YET = "Pictures from pictures are not possible here yet. POST /v1/images/generations makes pictures from text."
_FileName = Annotated[
    str, PathParameter(description="From the address in an answer.", examples=[Example(summary="a name", value="q3xG")])
]
_Facts = NamedDependency[SkipValidation[ServiceFacts]]


class ImagesController(Controller):
    """Images in OpenAI's shape."""

    path = "/images"
    tags = ("openai",)
    opt = in_group("dialects")

    @post(
        "/generations",
        status_code=200,
        dto=LenientBodyDTO[ImagesBody],
        return_dto=None,
        operation_id="openai_create_image",
        summary="Make images",
        responses={
            200: ResponseSpec(
                ImagesAnswer,
                description="The images, and in `x-warnings` what was ignored or changed; with `stream` server-sent events "
                "`image_generation.partial_image` and `image_generation.completed`, which has `warnings`.",
                generate_examples=False,
            ),
            400: documented(
                "The request is wrong; `param` names the field.",
                problem_of(errors.InvalidRequest([FieldError(field="n", message="must be at most 8, got 10")])),
            ),
            404: documented(
                "No model, adapter or VAE has this name.", problem_of(errors.UnknownModel("dmeo", ["demo"]))
            ),
            429: documented(
                "Too many requests of this client wait.", problem_of(errors.TooManyRequests(4, retry_after_s=20))
            ),
            503: documented(
                "The queue is full, or memory does not suffice.", problem_of(errors.QueueFull(64, retry_after_s=90))
            ),
        },
    )
    async def generations(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[ImagesBody],
        generation: NamedDependency[SkipValidation[GenerationService]],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        service_facts: _Facts,
        dialect_state: NamedDependency[SkipValidation[StoredImages]],
        keep_alive_s: NamedDependency[SkipValidation[float]],
    ) -> Response[Any]:
        """Make images as OpenAI's Images API does.

        A request that the SDK sends again joins its work if that still runs.
        """
        spec = await _model(data, catalogue, service_facts)
        found = translated(data, spec, unknown=ignored_fields(request))
        retried = request.headers.get(_RETRIES, "0") not in ("", "0")
        # Without a seed two equal requests are to give two images, unless one of them is the other, sent again.
        join = "in_flight" if retried or data.seed is not None else "never"
        key = f"openai {hashlib.sha256(msgspec.json.encode(data)).hexdigest()}"
        if data.stream:
            job = await generation.send(
                request, found.model, found.parameters, idempotency_key=key, join=join, detached=False
            )
            return image_stream(request, data, job, generation.jobs, keep_alive_s, found.warnings)
        generated = await generation.generate(
            request,
            found.model,
            found.parameters,
            idempotency_key=key,
            join=join,
            linger_s=_LINGER_S if _RETRIES in request.headers else 0,
        )
        answer = await images_answer(request, data, generated, dialect_state)
        return Response(answer, headers=warnings_header([*found.warnings, *generated.warnings]))

    @post(["/edits", "/variations"], status_code=200, include_in_schema=False)
    async def pictures(self) -> None:
        """Refuse what begins from a picture.

        Raises:
            HTTPException: 501.
        """
        raise HTTPException(detail=_NOT_YET, status_code=501)

    @get(
        "/files/{name:str}",
        operation_id="openai_get_image_file",
        summary="Get an image by the address in an answer",
        response_description="The file.",
        media_type="image/png",
        responses={404: documented("It was never there, or is no more.", refusal(404, "There is no such image."))},
        sync_to_thread=False,
    )
    def file(self, name: _FileName, dialect_state: NamedDependency[SkipValidation[StoredImages]]) -> Response[bytes]:
        """Return a file whose address an answer with `response_format: url` held, for an hour."""
        image = dialect_state.get(name)
        if image is None:
            raise NotFoundException(detail="There is no such image, or no more: addresses are good for an hour.")
        return Response(image.data, media_type=image.media_type, headers={"cache-control": "private, max-age=3600"})


async def _model(body: ImagesBody, catalogue: Catalogue, facts: ServiceFacts) -> ModelSpec:
    name = body.model or facts.default_model
    if not name:
        raise errors.InvalidRequest(
            [FieldError(field="model", message="is required: the server has no default model (models.default)")]
        )
    return await catalogue.find(name)
