"""Errors in the shape that Hugging Face's clients show, for requests in their form; others get problem documents."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from ..http import exception_handlers as native
from ..http.media_types import JSON
from ..http.problems import Problem, id_in, problem_response
from ..http.refusals import refusal
from .wire import InferenceError

_INFERENCE = "inference_body"

_Handler = Callable[[Request[Any, Any, Any], Any], Response[Any]]


class PicturesNotTaken(HTTPException):
    """A client sent a picture to begin from."""

    status_code = HTTPStatus.NOT_IMPLEMENTED
    detail = (
        "This server makes images from text only: image_to_image and its like are not implemented. Send "
        '{"inputs": "<prompt>", "parameters": {...}}.'
    )


def note_inference(scope: Any) -> None:
    """Remember that a request speaks this dialect, so that its errors do."""
    scope.setdefault("state", {})[_INFERENCE] = True


def exception_handlers() -> ExceptionHandlersMap:
    """Return the native handlers, whose documents are translated for requests that speak this dialect."""
    handlers: dict[Any, Any] = {PicturesNotTaken: _on_picture, **native.exception_handlers()}
    return {kind: _translated(handler) for kind, handler in handlers.items()}


def _translated(handler: _Handler) -> _Handler:
    def handle(request: Request[Any, Any, Any], error: Any) -> Response[Any]:
        response = handler(request, error)
        if not request.scope.get("state", {}).get(_INFERENCE):
            return response
        return Response(
            inference_error(response.content),
            status_code=response.status_code,
            media_type=JSON,
            headers=dict(response.headers),
        )

    return handle


def _on_picture(request: Request[Any, Any, Any], error: PicturesNotTaken) -> Response[Problem]:
    problem = msgspec.structs.replace(refusal(error.status_code, error.detail), instance=id_in(request.scope))
    return problem_response(request, problem)


def inference_error(problem: Problem) -> InferenceError:
    """Say in this dialect what a problem document says."""
    return InferenceError(error=problem.detail, error_type=problem.code)
