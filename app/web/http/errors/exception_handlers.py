"""Answers every exception of a route with a problem document."""

from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from ....domain import errors
from ....domain.errors import DiffusionError
from ....logs import get_logger
from .challenges import challenge
from .problems import HTTP_STATUS, Problem, id_in, problem_of, problem_response
from .refusals import body_too_large, nothing_at, path_asked, refusal, wrong_method
from .wrong_parameters import wrong_parameters

_log = get_logger(__name__)
_MAX_MESSAGE_CHARS = 300
_CLOSE = {"connection": "close"}
_STATUSES = (400, 413, 415)
"""Statuses that Litestar and our decoder of bodies raise in our routes."""


def exception_handlers() -> ExceptionHandlersMap:
    """Return the handlers for our router, or for the whole of the standalone application."""
    return {**domain_error_handlers(), HTTPException: _answer, Exception: _answer}


def complete_exception_handlers() -> ExceptionHandlersMap:
    """Return handlers for each error and status of ours, so that no handler of an application around us is more specific.

    Statuses that guards and middleware of that application answer with, such as 401, are left to it.
    """
    return {**dict.fromkeys((*_STATUSES, *HTTP_STATUS), _answer), **exception_handlers()}


def domain_error_handlers() -> ExceptionHandlersMap:
    """Return the handler of errors that this package raises on purpose, and of no others: for the routes of a host."""
    return {DiffusionError: _answer}


def problem_for(request: Request[Any, Any, Any], error: Exception) -> tuple[Problem, dict[str, str]]:
    """Describe any exception of a route as a problem document, with the headers of its answer, and log defects of ours."""
    match error:
        case DiffusionError():
            return _of_domain(request, error)
        case ValidationException():
            return _of_domain(request, errors.InvalidRequest(wrong_parameters(request, error)))
        case HTTPException() if error.status_code != HTTPStatus.INTERNAL_SERVER_ERROR:
            problem = msgspec.structs.replace(_refusal(request, error), instance=id_in(request.scope))
            return problem, dict(error.headers or {})
        case _:
            return _unexpected(request, error), {}


def _answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    return problem_response(request, *problem_for(request, error))


def _of_domain(request: Request[Any, Any, Any], error: DiffusionError) -> tuple[Problem, dict[str, str]]:
    problem = problem_of(error, id_in(request.scope))
    if problem.status == 500:
        _log.error("request_failed", code=error.code, exc_info=error)
    return problem, _headers(error)


def _headers(error: DiffusionError) -> dict[str, str]:
    match error:
        case (
            errors.QueueFull()
            | errors.TooManyRequests()
            | errors.RateLimited()
            | errors.WaitedTooLong()
            | errors.ShuttingDown()
            | errors.BodiesFull()
            | errors.StorageUnavailable()
        ):
            return {"retry-after": str(error.retry_after_s), **_closing(error)}
        case errors.BodyTooSlow():
            return _CLOSE
        case errors.Unauthorized():
            return challenge()
        case errors.Forbidden():
            return challenge(error.scopes)
        case _:
            return {}


def _closing(error: DiffusionError) -> dict[str, str]:
    """Return the header that ends a connection on which the rest of a body would come."""
    return _CLOSE if isinstance(error, (errors.BodiesFull, errors.ShuttingDown)) else {}


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Problem:
    """Describe a defect of ours: the log gets the stack, the client nothing of it."""
    _log.error("unexpected_error", method=request.method, path=request.url.path, exc_info=error)
    return Problem(
        title="Internal error",
        status=500,
        code="internal_error",
        detail="An unexpected error ended the request. The server's log has the details under its id.",
        instance=id_in(request.scope),
    )


def _refusal(request: Request[Any, Any, Any], error: HTTPException) -> Problem:
    path = path_asked(request.scope)
    match error.status_code:
        case 404 if error.detail == HTTPStatus.NOT_FOUND.phrase:  # of Litestar's router, and not of a handler
            return nothing_at(path, request.scope.get("root_path", ""))
        case 405:
            return wrong_method(request.method, path, (error.headers or {}).get("allow", "another method"))
        case 413:
            return body_too_large()
        case status:
            return refusal(status, error.detail[:_MAX_MESSAGE_CHARS])
