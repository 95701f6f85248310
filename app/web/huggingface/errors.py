"""Errors that Hugging Face's clients show: problem documents with the member `error`, for requests in their form."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.types import ExceptionHandlersMap

from ...domain.errors import ConflictingKeys, Forbidden, Unauthorized
from ..http.errors import exception_handlers as native
from ..http.errors.problems import Problem

_INFERENCE = "inference_body"
_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE

_Handler = Callable[[Request[Any, Any, Any], Any], Response[Any]]


def note_inference(scope: Any) -> None:
    """Remember that a request speaks this dialect, so that its errors do."""
    scope.setdefault("state", {})[_INFERENCE] = True


def exception_handlers() -> ExceptionHandlersMap:
    """Return the native handlers, whose documents are extended for requests that speak this dialect."""
    handlers: dict[Any, Any] = {**native.complete_exception_handlers()}
    return {kind: _extended(handler) for kind, handler in handlers.items()}


def _extended(handler: _Handler) -> _Handler:
    def handle(request: Request[Any, Any, Any], error: Any) -> Response[Any]:
        response = handler(request, error)
        # Keys are checked before the body is read, and of one that is too large nothing is read: either kind of client may have
        # sent it.
        unread = isinstance(error, (Unauthorized, ConflictingKeys, Forbidden)) or response.status_code == _TOO_LARGE
        if not unread and not request.scope.get("state", {}).get(_INFERENCE):
            return response
        response.content = inference_error(response.content)
        return response

    return handle


def inference_error(problem: Problem) -> dict[str, Any]:
    """Add `error` to a problem document, and leave out `errors`: clients would show its messages again, without the fields."""
    document = msgspec.to_builtins(problem)
    document.pop("errors", None)
    return {**document, "error": problem.detail}
