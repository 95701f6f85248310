"""`POST /sdapi/v1/png-info`: how an image was made, from its file."""

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Annotated

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import Meta

from ...domain.errors import FieldError, InvalidRequest
from ...domain.requests.metadata.generation_data import EmbeddedTexts, read_generation_data
from ..auth.requirements import requires
from ..http.bodies.body import LenientBodyDTO
from ..http.errors.documented_errors import FOREIGN
from ..http.errors.refusals import body_too_large
from ..http.route_groups import in_group
from .errors import WRONG, documented
from .openapi import A1111Operation

_MAX_BODY_NBYTES = 48 * 1024**2
"""A PNG of 36 MB in base64: larger than the `limits.max_body_bytes` of requests without pictures."""


class PNGInfoRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A file."""

    image: Annotated[
        str, Meta(description="A PNG, JPEG or WebP file in base64, with or without `data:...;base64,`.")
    ] = ""


class PNGInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the file says."""

    info: Annotated[str, Meta(description="The generation data as the web UI writes them; empty if there are none.")]
    items: Annotated[dict[str, str], Meta(description="All other texts of the file, by key.")]
    parameters: Annotated[dict[str, str], Meta(description="The parts of `info`, by the web UI's names.")]


@post(
    "/sdapi/v1/png-info",
    status_code=200,
    dto=LenientBodyDTO[PNGInfoRequest],
    return_dto=None,
    request_max_body_size=_MAX_BODY_NBYTES,
    summary="Read generation data from a file",
    operation_id="a1111_png_info",
    response_description="What the file says.",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate", "read"),
    operation_class=A1111Operation,
    responses={403: FOREIGN, 413: documented("The body is larger than 48 MiB.", body_too_large()), 422: WRONG},
)
async def png_info(
    data: JSONBody[PNGInfoRequest], embedded_texts: NamedDependency[SkipValidation[EmbeddedTexts]]
) -> PNGInfo:
    """Read files of this server, of the web UI, of ComfyUI and of InvokeAI."""
    texts = await embedded_texts.read(await asyncio.to_thread(decoded, data.image))
    info, found = read_generation_data(texts)
    return PNGInfo(info=info, items=_others(texts, info), parameters=found.fields if found is not None else {})


def decoded(image: str) -> bytes:
    """Decode base64, which may come as a data URL."""
    encoded = image.split(",", 1)[-1] if image.startswith("data:") else image
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest([FieldError(field="image", message="is not base64")]) from error


def _others(texts: Mapping[str, str], info: str) -> dict[str, str]:
    return {key: text for key, text in texts.items() if text != info}
