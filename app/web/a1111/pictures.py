"""The routes of the web UI that enlarge a picture, which this server cannot do yet."""

from http import HTTPStatus

from litestar import Response, post

from ..auth.requirements import requires
from ..http.documented_errors import FOREIGN
from ..http.problems import Problem
from ..http.route_groups import in_group
from .errors import A1111Error, a1111_error, documented
from .openapi import id_of_path

_NOT_YET = Problem(
    title="This is not possible here",
    status=HTTPStatus.NOT_IMPLEMENTED,
    code="not_implemented",
    detail="This server enlarges no pictures. Use /sdapi/v1/img2img with a larger width and height.",
)


@post(
    ["/sdapi/v1/extra-single-image", "/sdapi/v1/extra-batch-images"],
    status_code=HTTPStatus.NOT_IMPLEMENTED,
    operation_id=id_of_path,
    summary="Answer that pictures are not taken",
    tags=["a1111"],
    opt=in_group("dialects") | requires("generate"),
    responses={403: FOREIGN, 501: documented("Always.", _NOT_YET)},
    sync_to_thread=False,
)
def not_implemented() -> Response[A1111Error]:
    """Refuse: the body is not read."""
    status, body = a1111_error(_NOT_YET)
    return Response(body, status_code=status)
