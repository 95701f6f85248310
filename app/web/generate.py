"""`POST /generate/{model_name}`."""

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, SkipValidation

from ..domain.errors import FieldError
from ..domain.generation import GenerationParameters, OutputFormat
from ..domain.generator import Generated, ImageGenerator
from ..domain.jobs import gone_away
from .accept import wanted_image
from .access_log import note_generation, request_id_of
from .body import Posted, PostedDTO
from .problems import MEDIA_TYPE as PROBLEM_TYPE
from .problems import Problem
from .wire import MEDIA_TYPES, GenerateView, generate_view

_EXAMPLES = [
    Example(summary="A picture", value={"prompt": "a red circle on a blue background", "seed": 7}, id="picture"),
    Example(
        summary="Everything said",
        value={
            "prompt": "a yellow star on a purple background",
            "negative_prompt": "red",
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
            "width": 128,
            "height": 128,
            "seed": 1,
            "n": 2,
            "sampler": "DPM++ 2M Karras",
            "output_format": "jpeg",
            "output_quality": 90,
        },
        id="everything",
    ),
]


def problem(description: str) -> ResponseSpec:
    """A documented error response."""
    return ResponseSpec(Problem, media_type=PROBLEM_TYPE, description=description, generate_examples=False)


FOREIGN = problem("A web page of another origin sent this, and the server's settings do not list that origin.")
UNKNOWN = problem("No model has this name; `available` lists those that exist.")


@post(
    "/generate/{model_name:str}",
    status_code=200,
    dto=PostedDTO[GenerationParameters],
    return_dto=None,
    summary="Make images",
    tags=["generation"],
    responses={
        200: ResponseSpec(
            GenerateView,
            description="The images in base64; with `Accept: image/png`, `image/jpeg` or `image/webp` and n = 1 the file "
            "itself, with the same facts in `x-` headers.",
            generate_examples=False,
        ),
        400: problem("Some fields are wrong; `errors` names every one of them."),
        403: FOREIGN,
        404: UNKNOWN,
        413: problem("The body is too large."),
        422: problem("The model is listed, but its files cannot be used; `detail` says why."),
        500: problem("The image could not be made."),
        503: problem("Too many requests wait, memory does not suffice, or the server is going down."),
    },
)
async def generate(
    request: Request[Any, Any, Any],
    model_name: FromPath[str],
    data: Annotated[Posted[GenerationParameters], Body(examples=_EXAMPLES)],
    image_generator: NamedDependency[SkipValidation[ImageGenerator]],
) -> Response[Any]:
    """Make images with a model, loading it first if need be, and wait for them.

    When the client goes away, the work stops at the next step.
    """
    parameters = data.value
    raw = wanted_image(request.headers.get("accept"), parameters.output_format)
    if raw is not None:
        parameters = msgspec.structs.replace(parameters, output_format=raw)
    if wrong := [*data.errors, *_too_many_for_raw(parameters, raw)]:
        image_generator.check(model_name, parameters, wrong)
    generated = await _unless_gone(request, image_generator, model_name, parameters)
    note_generation(request, generated)
    if raw is not None:
        return Response(generated.images[0].data, media_type=MEDIA_TYPES[raw], headers=_facts(generated))
    return Response(generate_view(generated))


def _too_many_for_raw(parameters: GenerationParameters, raw: OutputFormat | None) -> list[FieldError]:
    if raw is None or parameters.n == 1:
        return []
    message = f"must be 1 where the Accept header asks for a single image, got {parameters.n}; accept application/json"
    return [FieldError(field="n", message=message)]


async def _unless_gone(
    request: Request[Any, Any, Any], generator: ImageGenerator, model_name: str, data: GenerationParameters
) -> Generated:
    """Generate, but stop as soon as the client has gone."""
    work = asyncio.ensure_future(generator.generate(model_name, data, job_id=request_id_of(request)))
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise gone_away()
    finally:
        watch.cancel()
        work.cancel()
        await asyncio.wait({work})


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _facts(generated: Generated) -> dict[str, str]:
    """The facts of the JSON answer as headers; text is percent-encoded, because headers hold Latin-1 alone."""
    view = generate_view(generated)
    timings, parameters = view.timings, view.parameters
    warnings = {"x-warnings": _header_text(view.warnings)} if view.warnings else {}
    return {
        **warnings,
        "x-model": view.model,
        "x-seed": str(view.images[0].seed),
        "x-residency": view.residency,
        "x-sampler": parameters.sampler,
        "x-steps": str(parameters.num_inference_steps),
        "x-guidance-scale": f"{parameters.guidance_scale:g}",
        "x-width": str(parameters.width),
        "x-height": str(parameters.height),
        "server-timing": ", ".join(
            f"{name};dur={getattr(timings, f'{name}_ms')}"
            for name in ("queue", "load", "encode", "denoise", "decode", "write", "total")
        ),
    }


def _header_text(lines: list[str]) -> str:
    return quote(" | ".join(lines), safe=" |,.;:'!?()/=+-_")
