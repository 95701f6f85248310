"""Errors as RFC 9457 problem documents. The one table that maps the domain's errors to HTTP statuses is here."""

from typing import Annotated, Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap, Scope, Send
from msgspec import Meta

from ...domain import errors
from ...domain.errors import DiffusionError, FieldError

_log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_CODE = "problem_code"

STATUS: dict[type[DiffusionError], int] = {
    errors.InvalidRequest: 400,
    errors.UnknownModel: 404,
    errors.UnusableModel: 422,
    errors.LoadFailed: 500,
    errors.DownloadFailed: 502,
    errors.InsufficientMemory: 503,
    errors.OutOfMemory: 503,
    errors.QueueFull: 503,
    errors.TooManyRequests: 429,
    errors.WaitedTooLong: 503,
    errors.EngineStuck: 503,
    errors.UnknownJob: 404,
    errors.ExpiredJob: 410,
    errors.IdempotencyConflict: 409,
    errors.ModelInUse: 409,
    errors.GenerationFailed: 500,
    errors.NotFinite: 500,
    errors.Cancelled: 499,
    errors.ShuttingDown: 503,
    errors.InvalidSettings: 500,
}

_HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    415: "unsupported_media_type",
    406: "not_acceptable",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"type_": "type"}):
    """An RFC 9457 problem document."""

    type_: str = "about:blank"
    title: str
    status: int
    code: Annotated[str, Meta(description="Stable; for programs.", examples=["invalid_request"])]
    detail: Annotated[str, Meta(description="For people: what was wrong, and what to do next.")]
    instance: Annotated[str, Meta(description="The id of the request, as in the log and in `x-request-id`.")] | None = (
        None
    )
    errors: Annotated[list[FieldError], Meta(description="Every offending field.")] | None = None
    available: (
        Annotated[list[str], Meta(description="The names that exist, where an unknown one was asked for.")] | None
    ) = None
    needed_nbytes: int | None = None
    """Bytes that the request needs, the model's weights included."""
    available_nbytes: int | None = None
    """Bytes that there are for it."""
    largest_width: int | None = None
    """The largest size of the same shape that would fit, in pixels."""
    largest_height: int | None = None
    memory_savings: list[str] | None = None
    """What was tried to save memory, in vain."""


def problem_response(
    request: Request[Any, Any, Any], problem: Problem, headers: dict[str, str] | None = None
) -> Response[Problem]:
    """The response that carries a problem document; its code is noted for the log and the metrics."""
    _note(request.scope, problem)
    return Response(problem, status_code=problem.status, media_type=MEDIA_TYPE, headers=headers)


async def send_problem(problem: Problem, scope: Scope, send: Send) -> None:
    """Answer with a problem document from outside Litestar's routes; adds the id of the request."""
    _note(scope, problem)
    body = msgspec.json.encode(msgspec.structs.replace(problem, instance=_id_in(scope)))
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def code_in(scope: Any) -> str | None:
    """The code of the problem document that a request ended in; None where it did not."""
    return scope.get("state", {}).get(_CODE)


def exception_handlers() -> ExceptionHandlersMap:
    """Handlers for our router, or for the whole of the standalone application."""
    return {DiffusionError: _on_diffusion_error, HTTPException: _on_http_error, Exception: _on_unexpected}


def _on_diffusion_error(request: Request[Any, Any, Any], error: DiffusionError) -> Response[Problem]:
    problem = problem_of(error, _request_id(request))
    if problem.status == 500:
        _log.error("request_failed", code=error.code, exc_info=error)
    headers: dict[str, str] = {}
    if isinstance(error, (errors.QueueFull, errors.TooManyRequests, errors.WaitedTooLong)):
        headers["retry-after"] = str(error.retry_after_s)
    return problem_response(request, problem, headers)


def problem_of(error: DiffusionError, instance: str | None = None) -> Problem:
    """An error of the domain as a problem document.

    Args:
        error: what went wrong.
        instance: the id of the request in which it did.
    """
    facts: dict[str, Any] = {}
    match error:
        case errors.InvalidRequest():
            facts["errors"] = list(error.errors)
        case errors.UnknownModel():
            facts["available"] = list(error.available)
        case errors.InsufficientMemory():
            facts |= _memory_facts(error)
        case _:
            pass
    return Problem(
        title=error.title,
        status=STATUS.get(type(error), 500),
        code=error.code,
        detail=error.message,
        instance=instance,
        **facts,
    )


def _memory_facts(error: errors.InsufficientMemory) -> dict[str, Any]:
    width, height = error.largest_size or (None, None)
    return {
        "needed_nbytes": error.needed_nbytes,
        "available_nbytes": error.available_nbytes,
        "largest_width": width,
        "largest_height": height,
        "memory_savings": list(error.savings) or None,
    }


def _on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    status = error.status_code
    if status >= 500:
        return _on_unexpected(request, error)
    fields = _fields(error) if isinstance(error, ValidationException) else None
    problem = Problem(
        title=_title(status),
        status=status,
        code=_HTTP_CODES.get(status, f"http_{status}"),
        detail=_detail(request, error),
        instance=_request_id(request),
        errors=fields,
    )
    return problem_response(request, problem, dict(error.headers or {}))


def _on_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """A defect of ours: the log gets the stack, the client nothing of it."""
    _log.error("unexpected_error", method=request.method, path=request.url.path, exc_info=error)
    problem = Problem(
        title="Internal error",
        status=500,
        code="internal_error",
        detail="An unexpected error ended the request. The server's log has the details under its id.",
        instance=_request_id(request),
    )
    return problem_response(request, problem)


def _detail(request: Request[Any, Any, Any], error: HTTPException) -> str:
    path = request.url.path
    match error.status_code:
        case 404:
            return f"There is nothing at {path}. The documentation of what there is stands at /schema."
        case 405:
            allowed = (error.headers or {}).get("allow", "another method")
            return f"{request.method} is not possible at {path}; use {allowed}."
        case 413:
            return "The request body is larger than limits.max_body_bytes in the server's settings."
        case _:
            return error.detail


def _title(status: int) -> str:
    titles = {
        400: "The request is not valid",
        404: "There is no such page",
        405: "This method is not possible here",
        406: "No acceptable format",
        413: "The request is too large",
        415: "This media type is not understood",
    }
    return titles.get(status, "The request failed")


def _fields(error: ValidationException) -> list[FieldError] | None:
    if not isinstance(error.extra, list):
        return None
    return [
        FieldError(field=str(entry.get("key", "request")), message=str(entry.get("message", "")))
        for entry in error.extra
        if isinstance(entry, dict)
    ]


def _request_id(request: Request[Any, Any, Any]) -> str | None:
    return _id_in(request.scope)


def _note(scope: Any, problem: Problem) -> None:
    scope.setdefault("state", {})[_CODE] = problem.code


def _id_in(scope: Any) -> str | None:
    return scope.get("state", {}).get("request_id")
