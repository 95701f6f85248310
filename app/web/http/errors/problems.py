"""Errors as RFC 9457 problem documents. Has the one table that maps the domain's errors to HTTP statuses."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, Response
from litestar.types import Scope, Send
from msgspec import Meta

from ....domain import errors
from ....domain.errors import DiffusionError, FieldError
from ..media_types import PROBLEM

HTTP_STATUS: Mapping[type[DiffusionError], int] = {
    errors.InvalidRequest: 400,
    errors.UnknownAsset: 404,
    errors.UnknownModel: 404,
    errors.UnknownAdapter: 404,
    errors.UnknownVae: 404,
    errors.UnusableAsset: 422,
    errors.UnusableModel: 422,
    errors.UnusableAdapter: 422,
    errors.UnusableVae: 422,
    errors.LoadFailed: 500,
    errors.DownloadFailed: 502,
    errors.InsufficientMemory: 503,
    errors.OutOfMemory: 503,
    errors.QueueFull: 503,
    errors.TooManyRequests: 429,
    errors.RateLimited: 429,
    errors.Unauthorized: 401,
    errors.ConflictingKeys: 400,
    errors.Forbidden: 403,
    errors.WaitedTooLong: 503,
    errors.TooMuchWork: 400,
    errors.EngineStuck: 503,
    errors.EngineFailed: 503,
    errors.DeviceLost: 503,
    errors.UnknownJob: 404,
    errors.UnknownImage: 404,
    errors.ExpiredJob: 410,
    errors.IdempotencyConflict: 409,
    errors.KeyTaken: 409,
    errors.Interrupted: 500,
    errors.StorageUnavailable: 503,
    errors.ModelInUse: 409,
    errors.GenerationFailed: 500,
    errors.NotFinite: 500,
    errors.Cancelled: 499,
    errors.ShuttingDown: 503,
    errors.BodyTooSlow: 408,
    errors.BodiesFull: 503,
    errors.InvalidSettings: 500,
}
"""The status that answers each error of the domain; public, for applications that answer in a form of their own."""

_MAX_DETAIL_CHARS = 4000
"""Keeps an answer short if there are thousands of names or long paths in an error; `errors` has at most 20 fields."""
_MAX_NAMES = 50
"""Names that an answer lists; `GET /models` and `GET /adapters` list all."""
_CODE = "problem_code"


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"type_": "type"}):
    """An RFC 9457 problem document."""

    type_: str = "about:blank"
    title: str
    status: int
    code: Annotated[str, Meta(description="Stable; for programs.", examples=["invalid_request"])]
    detail: Annotated[str, Meta(description="For people: what was wrong, and what to do next.")]
    instance: Annotated[str, Meta(description="Id of the request, as in the log and in `x-request-id`.")] | None = None
    errors: Annotated[list[FieldError], Meta(description="Every offending field; after 20, their number.")] | None = (
        None
    )
    available: (
        Annotated[list[str], Meta(description="Names that exist, if the one in the request does not; the first 50.")]
        | None
    ) = None
    needed_nbytes: int | None = None
    """Bytes that the request needs, the model's weights included."""
    available_nbytes: int | None = None
    """Bytes that the memory budget has for it."""
    largest_width: int | None = None
    """Width of the largest image of the same shape that would fit, in pixels."""
    largest_height: int | None = None
    """Height of the largest image of the same shape that would fit, in pixels."""
    memory_savings: list[str] | None = None
    """Savings of memory that were tried and did not suffice."""


def problem_of(error: DiffusionError, instance: str | None = None) -> Problem:
    """Describe an error of the domain as a problem document.

    Args:
        error: what went wrong.
        instance: id of the request that failed.
    """
    return Problem(
        title=error.title,
        status=HTTP_STATUS.get(type(error), 500),
        code=error.code,
        detail=error.message[:_MAX_DETAIL_CHARS],
        instance=instance,
        **_facts(error),
    )


def problem_response(
    request: Request[Any, Any, Any], problem: Problem, headers: dict[str, str] | None = None
) -> Response[Problem]:
    """Make the response that carries a problem document; its code is noted for the log and the metrics."""
    note_problem(request.scope, problem)
    return Response(problem, status_code=problem.status, media_type=PROBLEM, headers=headers)


async def send_problem(problem: Problem, scope: Scope, send: Send, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    """Answer with a problem document from outside Litestar's routes; adds the id of the request."""
    note_problem(scope, problem)
    body = msgspec.json.encode(msgspec.structs.replace(problem, instance=id_in(scope)))
    own = [(b"content-type", PROBLEM.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": problem.status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def code_in(scope: Any) -> str | None:
    """Return the code of the problem document that a request ended in; None if it ended well."""
    return scope.get("state", {}).get(_CODE)


def id_in(scope: Any) -> str | None:
    """Return the id of a request; None inside an application that does not use our access log."""
    return scope.get("state", {}).get("request_id")


def _facts(error: DiffusionError) -> dict[str, Any]:
    match error:
        case errors.InvalidRequest():
            return {"errors": list(error.errors)}
        case errors.UnknownAsset():
            return {"available": _listed(error)}
        case errors.InsufficientMemory():
            return _memory_facts(error)
        case _:
            return {}


def _listed(error: errors.UnknownAsset) -> list[str]:
    """Return the likely name and the first ones of the catalogue, so that thousands of names make no long answer."""
    first = [error.likely] if error.likely else []
    return list(dict.fromkeys([*first, *error.available[:_MAX_NAMES]]))


def _memory_facts(error: errors.InsufficientMemory) -> dict[str, Any]:
    width, height = error.largest_size or (None, None)
    return {
        "needed_nbytes": error.needed_nbytes,
        "available_nbytes": error.available_nbytes,
        "largest_width": width,
        "largest_height": height,
        "memory_savings": list(error.savings) or None,
    }


def note_problem(scope: Any, problem: Problem) -> None:
    """Note the code of a problem document for the log and the metrics."""
    scope.setdefault("state", {})[_CODE] = problem.code
