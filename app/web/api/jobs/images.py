"""`GET /jobs/{id}/images/{index}`: the images of a job as files, whole or small."""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter, SkipValidation

from ....domain.errors import UnknownImage
from ....domain.jobs.job_store import JobStore
from ....domain.requests.pictures.thumbnail import MAX_WIDTH_PX, Thumbnail
from ...auth.requirements import requires
from ...http.clients import owner_of
from ...http.errors.documented_errors import EXPIRED, UNKNOWN_IMAGE, WRONG_FIELDS
from ...http.media_types import IMAGES
from ...http.route_groups import in_group

_UNCHANGING = {"cache-control": "private, max-age=31536000, immutable"}
_SMALL = IMAGES["webp"]


@get(
    "/jobs/{model_or_job:str}/images/{index:int}",
    summary="Get an image of a job",
    tags=["jobs"],
    opt=in_group("jobs") | requires("generate", "read"),
    responses={
        200: ResponseSpec(
            bytes,
            media_type=_SMALL,
            description="The image file, in the format that was asked for.",
            generate_examples=False,
        ),
        400: WRONG_FIELDS,
        404: UNKNOWN_IMAGE,
        410: EXPIRED,
    },
)
async def job_image(
    request: Request[Any, Any, Any],
    model_or_job: Annotated[
        str,
        PathParameter(description="Id of a job.", examples=[Example(summary="an id", value="0f8fad5bd9cb469fa165")]),
    ],
    index: Annotated[int, PathParameter(description="Of the image in the job, from 0.")],
    job_store: NamedDependency[SkipValidation[JobStore]],
    thumbnail: NamedDependency[SkipValidation[Thumbnail]],
    width: Annotated[
        int | None,
        QueryParameter(description="Largest width in pixels, for a small WebP.", ge=1, le=MAX_WIDTH_PX),
    ] = None,
) -> Response[bytes]:
    """Answer with one image of a job that is done; the file never changes, so that browsers keep it."""
    job = await job_store.get(model_or_job, owner_of(request), with_result=True)
    images = job.result.images if job.result is not None else ()
    if job.result is None or not 0 <= index < len(images):
        raise UnknownImage(index, len(images))
    data, media_type = images[index].data, IMAGES[job.result.request.output_format]
    if width is not None:
        data, media_type = await thumbnail(data, width), _SMALL
    return Response(data, media_type=media_type, headers=_UNCHANGING)
