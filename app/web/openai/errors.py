"""Errors in OpenAI's shape: `{"error": {message, type, param, code}}`, with `x-request-id`."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.types import ExceptionHandlersMap

from ..http.errors.exception_handlers import complete_exception_handlers, problem_for
from ..http.errors.problems import Problem, note_problem
from .wire import ErrorAnswer, ErrorObject

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "invalid_request_error", 429: "rate_limit_error"}
_CODES = {
    "unknown_model": "model_not_found",
    "too_many_requests": "rate_limit_exceeded",
    "rate_limited": "rate_limit_exceeded",
    "unauthorized": "invalid_api_key",
}


def openai_exception_handlers() -> ExceptionHandlersMap:
    """Return handlers for the dialect's router."""
    return dict.fromkeys(complete_exception_handlers(), _answer)


def error_answer(problem: Problem) -> ErrorAnswer:
    """Express a problem document in OpenAI's shape."""
    first = problem.errors[0] if problem.errors else None
    message = "; ".join(str(error) for error in problem.errors) if problem.errors else problem.detail
    return ErrorAnswer(
        error=ErrorObject(
            message=message,
            type=_TYPES.get(problem.status, "invalid_request_error" if problem.status < 500 else "server_error"),
            param=first.field if first is not None else ("model" if problem.code == "unknown_model" else None),
            code=_CODES.get(problem.code, problem.code),
        )
    )


def documented(description: str, problem: Problem) -> ResponseSpec:
    """Document an error response with an example."""
    example = Example(summary=problem.code, value=msgspec.to_builtins(error_answer(problem)))
    return ResponseSpec(ErrorAnswer, description=description, generate_examples=False, examples=[example])


def _answer(request: Request[Any, Any, Any], error: Exception) -> Response[ErrorAnswer]:
    problem, headers = problem_for(request, error)
    note_problem(request.scope, problem)
    return Response(error_answer(problem), status_code=problem.status, headers=headers, media_type="application/json")
