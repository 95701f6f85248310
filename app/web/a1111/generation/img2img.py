"""`POST /sdapi/v1/img2img`."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from ...auth.requirements import requires
from ...generation_service import GenerationService
from ...http.bodies.body import LenientBodyDTO
from ...http.route_groups import in_group, with_pictures
from ..dependencies import CataloguePort, Facts, Remembered
from ..openapi import A1111Operation
from .img2img_translation import with_picture
from .img2img_wire import Img2ImgRequest
from .txt2img import RESPONSES, made
from .txt2img_wire import Txt2ImgAnswer


@post(
    "/sdapi/v1/img2img",
    status_code=200,
    dto=LenientBodyDTO[Img2ImgRequest],
    return_dto=None,
    summary="Make images from a picture",
    operation_id="a1111_img2img",
    response_description="The images in base64.",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate") | with_pictures(),
    operation_class=A1111Operation,
    responses=RESPONSES,
)
async def img2img(
    request: Request[Any, Any, Any],
    data: JSONBody[Img2ImgRequest],
    generation: NamedDependency[SkipValidation[GenerationService]],
    catalogue: CataloguePort,
    dialect_state: Remembered,
    service_facts: Facts,
) -> Txt2ImgAnswer:
    """Make images from a picture, or paint its masked part again, as the web UI does."""
    answer = await made(
        request, data, generation, catalogue, dialect_state, service_facts, lambda text: with_picture(data, text)
    )
    return msgspec.structs.replace(answer, parameters=msgspec.structs.replace(data, init_images=[], mask=None))
