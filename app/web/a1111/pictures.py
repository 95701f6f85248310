"""The route of the web UI that begins from a picture, which this dialect cannot do yet."""

from http import HTTPStatus

from litestar import Response, post

from ..http.documented_errors import FOREIGN
from ..http.problems import Problem
from ..http.route_groups import in_group
from .errors import A1111Error, a1111_error, documented
from .openapi import id_of_path

_NOT_YET = Problem(
    title="This is not possible here",
    status=HTTPStatus.NOT_IMPLEMENTED,
    code="not_implemented",
    detail="This server makes pictures from text alone: it takes none. Use /sdapi/v1/txt2img.",
)


@post(
    "/sdapi/v1/img2img",
    status_code=HTTPStatus.NOT_IMPLEMENTED,
    operation_id=id_of_path,
    summary="Answer that pictures are not taken",
    tags=["a1111"],
    opt=in_group("dialects"),
    responses={403: FOREIGN, 501: documented("Always.", _NOT_YET)},
    sync_to_thread=False,
)
def not_implemented() -> Response[A1111Error]:
    """Refuse: the body is not read."""
    status, body = a1111_error(_NOT_YET)
    return Response(body, status_code=status)
