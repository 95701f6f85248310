"""`/v1/images`."""

from dataclasses import dataclass
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter, SkipValidation

from ...domain import errors
from ...domain.errors import FieldError
from ...domain.models.catalogue import Catalogue
from ...domain.models.spec import ModelSpec
from ...domain.requests.request_digest import request_digest
from ..api.service import ServiceFacts
from ..auth.requirements import requires
from ..generation_service import GenerationService
from ..http.bodies.body import LenientBodyDTO, ignored_fields
from ..http.clients import owner_of
from ..http.errors.problems import problem_of
from ..http.errors.refusals import refusal
from ..http.errors.renamed import renamed_fields
from ..http.large_json import LargeJSON
from ..http.route_groups import in_group, with_pictures
from .answers import images_answer, warnings_header
from .errors import documented
from .openapi import FormOperation
from .stored_images import StoredImages
from .stream import image_stream
from .translation import Translated, their_names, translated
from .wire import EditsBody, ImagesAnswer, ImagesBody, VariationsBody

_LINGER_S = 15.0
"""Seconds that work continues for the SDK, which comes back within 8 s after it has given a connection up."""
_RETRIES = "x-stainless-retry-count"
"""Header of OpenAI's SDKs: the number of times that this request was sent before."""
_FILE_HEADERS = {"cache-control": "private, max-age=3600", "cross-origin-resource-policy": "cross-origin"}
"""The address is a secret; pages of other origins show the image, as they do with OpenAI's addresses."""
_FileName = Annotated[
    str, PathParameter(description="From the address in an answer.", examples=[Example(summary="a name", value="q3xG")])
]
_Facts = NamedDependency[SkipValidation[ServiceFacts]]


RESPONSES = {
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
    404: documented("No model, adapter or VAE has this name.", problem_of(errors.UnknownModel("dmeo", ["demo"]))),
    429: documented("Too many requests of this client wait.", problem_of(errors.TooManyRequests(4, retry_after_s=20))),
    503: documented(
        "The queue is full, or memory does not suffice.", problem_of(errors.QueueFull(64, retry_after_s=90))
    ),
}

_NO_IMAGE = "There is no such image, or no more: addresses are good for an hour."


class ImagesController(Controller):
    """Images in OpenAI's shape."""

    path = "/images"
    tags = ("openai",)
    opt = in_group("dialects") | requires("generate")

    @post(
        "/generations",
        status_code=200,
        dto=LenientBodyDTO[ImagesBody],
        return_dto=None,
        operation_id="openai_create_image",
        summary="Make images",
        responses=RESPONSES,
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
        made = _Made(request, generation, catalogue, service_facts, dialect_state, keep_alive_s)
        return await made.answer(data)

    @get(
        "/files/{name:str}",
        opt=requires("generate", "read"),
        operation_id="openai_get_image_file",
        summary="Get an image by the address in an answer",
        response_description="The file.",
        media_type="image/png",
        responses={404: documented("It was never there, or is no more.", refusal(404, _NO_IMAGE))},
        sync_to_thread=False,
    )
    def file(
        self,
        request: Request[Any, Any, Any],
        name: _FileName,
        dialect_state: NamedDependency[SkipValidation[StoredImages]],
    ) -> Response[bytes]:
        """Return a file whose address an answer with `response_format: url` held, for an hour."""
        image = dialect_state.get(name, owner_of(request))
        if image is None:
            raise NotFoundException(detail=_NO_IMAGE)
        return Response(image.data, media_type=image.media_type, headers=_FILE_HEADERS)


class PicturesController(Controller):
    """Images made from pictures, in OpenAI's shape. A controller of its own, because its bodies may be larger."""

    path = "/images"
    tags = ("openai",)
    opt = in_group("dialects") | requires("generate") | with_pictures()

    @post(
        "/edits",
        status_code=200,
        dto=LenientBodyDTO[EditsBody],
        return_dto=None,
        operation_class=FormOperation,
        operation_id="openai_edit_image",
        summary="Make images from a picture, or paint its masked part again",
        responses=RESPONSES,
    )
    async def edits(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[EditsBody],
        generation: NamedDependency[SkipValidation[GenerationService]],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        service_facts: _Facts,
        dialect_state: NamedDependency[SkipValidation[StoredImages]],
        keep_alive_s: NamedDependency[SkipValidation[float]],
    ) -> Response[Any]:
        """Edit a picture as OpenAI's Images API does: a form with the files `image` and `mask`."""
        made = _Made(request, generation, catalogue, service_facts, dialect_state, keep_alive_s)
        return await made.answer(data)

    @post(
        "/variations",
        status_code=200,
        dto=LenientBodyDTO[VariationsBody],
        return_dto=None,
        operation_class=FormOperation,
        operation_id="openai_vary_image",
        summary="Make variations of a picture",
        responses=RESPONSES,
    )
    async def variations(
        self,
        request: Request[Any, Any, Any],
        data: JSONBody[VariationsBody],
        generation: NamedDependency[SkipValidation[GenerationService]],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        service_facts: _Facts,
        dialect_state: NamedDependency[SkipValidation[StoredImages]],
        keep_alive_s: NamedDependency[SkipValidation[float]],
    ) -> Response[Any]:
        """Vary a picture as OpenAI's Images API does: a form with the file `image`."""
        made = _Made(request, generation, catalogue, service_facts, dialect_state, keep_alive_s)
        return await made.answer(data)


@dataclass(frozen=True, slots=True)
class _Made:
    """Makes the images of a request of any of the routes."""

    request: Request[Any, Any, Any]
    generation: GenerationService
    catalogue: Catalogue
    facts: ServiceFacts
    stored: StoredImages
    keep_alive_s: float

    async def answer(self, data: ImagesBody) -> Response[Any]:
        """Make images and answer, or stream them."""
        spec = await _model(data, self.catalogue, self.facts)
        found = translated(data, spec, unknown=ignored_fields(self.request))
        with renamed_fields(their_names(data)):
            return await self._made(data, found)

    async def _made(self, data: ImagesBody, found: Translated) -> Response[Any]:
        retried = self.request.headers.get(_RETRIES, "0") not in ("", "0")
        # Without a seed two equal requests are to give two images, unless one of them is the other, sent again.
        join = "in_flight" if retried or data.seed is not None else "never"
        key = f"openai {(await request_digest(data)).hex()}"
        if data.stream:
            job = await self.generation.send(
                self.request, found.model, found.parameters, idempotency_key=key, join=join, detached=False
            )
            return image_stream(self.request, data, job, self.generation.jobs, self.keep_alive_s, found.warnings)
        generated = await self.generation.generate(
            self.request,
            found.model,
            found.parameters,
            idempotency_key=key,
            join=join,
            linger_s=_LINGER_S if _RETRIES in self.request.headers else 0,
        )
        answer = images_answer(self.request, data, generated, self.stored)
        return LargeJSON(answer, headers=warnings_header([*found.warnings, *generated.warnings]))


async def _model(body: ImagesBody, catalogue: Catalogue, facts: ServiceFacts) -> ModelSpec:
    name = body.model or facts.default_model
    if not name:
        raise errors.InvalidRequest(
            [FieldError(field="model", message="is required: the server has no default model (models.default)")]
        )
    return await catalogue.find(name)
