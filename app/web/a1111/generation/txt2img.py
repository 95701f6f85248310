"""`POST /sdapi/v1/txt2img`."""

from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ....domain.families.registry import family_named
from ...auth.requirements import requires
from ...generation_service import GenerationService
from ...http.bodies.body import LenientBodyDTO, ignored_fields
from ...http.clients import client_of
from ...http.errors.documented_errors import FOREIGN
from ...http.errors.renamed import renamed_fields
from ...http.route_groups import in_group
from ..dependencies import CataloguePort, Facts, Remembered
from ..errors import BUSY, FAILED, INTERRUPTED, NOT_DOWNLOADED, TOO_LARGE, TOO_MANY, UNKNOWN_CHECKPOINT, WRONG
from ..lists.checkpoints import checkpoint
from ..openapi import A1111Operation
from ..options import changed, ignored
from .generation_info import generation_info
from .translation import Translation, translated
from .txt2img_wire import Txt2ImgAnswer, Txt2ImgRequest

RESPONSES = {
    403: FOREIGN,
    404: UNKNOWN_CHECKPOINT,
    413: TOO_LARGE,
    422: WRONG,
    429: TOO_MANY,
    499: INTERRUPTED,
    500: FAILED,
    502: NOT_DOWNLOADED,
    503: BUSY,
}


@post(
    "/sdapi/v1/txt2img",
    status_code=200,
    dto=LenientBodyDTO[Txt2ImgRequest],
    return_dto=None,
    summary="Make images",
    operation_id="a1111_txt2img",
    response_description="The images in base64.",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate"),
    operation_class=A1111Operation,
    responses=RESPONSES,
)
async def txt2img(
    request: Request[Any, Any, Any],
    data: JSONBody[Txt2ImgRequest],
    generation: NamedDependency[SkipValidation[GenerationService]],
    catalogue: CataloguePort,
    dialect_state: Remembered,
    service_facts: Facts,
) -> Txt2ImgAnswer:
    """Make images as the web UI does, with the model of the request or of the client, and wait for them."""
    return await made(request, data, generation, catalogue, dialect_state, service_facts)


async def made(
    request: Request[Any, Any, Any],
    data: Txt2ImgRequest,
    generation: GenerationService,
    catalogue: CataloguePort,
    dialect_state: Remembered,
    service_facts: Facts,
    completed: Callable[[Translation], Translation] = lambda translation: translation,
) -> Txt2ImgAnswer:
    """Make the images of a request; `completed` adds what it has beside the fields of txt2img."""
    session = dialect_state.of(client_of(request))
    options = changed(session.options, data.override_settings)
    spec = await checkpoint(catalogue, options.sd_model_checkpoint, service_facts.default_model)
    clip_skip_base = family_named(spec.traits.family).clip_skip_base
    asked = completed(translated(data, options, clip_skip_base=clip_skip_base, unknown=ignored_fields(request)))
    if not data.override_settings_restore_afterwards:
        session.options = msgspec.structs.replace(options, sd_model_checkpoint=spec.name)
    with renamed_fields({"image": "init_images"}):
        job = await generation.begin(request, spec.name, asked.parameters)
    with session.following(job):
        generated = await generation.finish(request, job)
    warnings = [*asked.warnings, *ignored(data.override_settings)]
    info = generation_info(data, generated, warnings, clip_skip_base)
    images = [image.data for image in generated.images] if data.send_images else []
    return Txt2ImgAnswer(images=images, parameters=data, info=msgspec.json.encode(info).decode())
