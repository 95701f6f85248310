"""Errors in the web UI's shape, `{"error": ..., "detail": ...}`, and as its OpenAPI document shows them."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import msgspec
from litestar import Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.types import ExceptionHandlersMap
from msgspec import Meta

from ...domain import errors
from ...domain.errors import DiffusionError, FieldError
from ..http.errors import exception_handlers as native
from ..http.errors.problems import Problem, problem_of
from ..http.errors.refusals import body_too_large
from ..http.media_types import JSON

_NAMES = {
    "n": "batch_size * n_iter",
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "sampler": "sampler_name",
    "schedule": "scheduler",
    "output_format": "samples_format",
    "hires": "enable_hr",
    "hires.scale": "hr_scale",
    "hires.width": "hr_resize_x",
    "hires.height": "hr_resize_y",
    "hires.steps": "hr_second_pass_steps",
    "hires.strength": "denoising_strength",
    "hires.upscaler": "hr_upscaler",
    "hires.sampler": "hr_sampler_name",
    "hires.schedule": "hr_scheduler",
}
"""Fields of this dialect, by those of the server's own API."""
_UNPROCESSABLE = 422
"""What the web UI answers to wrong fields."""


class A1111Error(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a request that failed."""

    error: Annotated[str, Meta(description="Stable; for programs.", examples=["invalid_request"])]
    detail: Annotated[str, Meta(description="For people: what was wrong, and what to do next.")]


def exception_handlers() -> ExceptionHandlersMap:
    """Return handlers that do what those of the server's own API do, and answer in the web UI's shape."""
    return {kind: _encoded(handler) for kind, handler in native.complete_exception_handlers().items()}


def a1111_error(problem: Problem) -> tuple[int, A1111Error]:
    """Translate a problem document to a status and a body."""
    wrong = problem.errors
    detail = problem.detail if not wrong else "; ".join(str(_renamed(error)) for error in wrong)
    status = _UNPROCESSABLE if wrong and problem.status == 400 else problem.status
    return status, A1111Error(error=problem.code, detail=detail)


def documented(description: str, example: DiffusionError | Problem) -> ResponseSpec:
    """Document an error response.

    Args:
        description: condition under which a client gets it.
        example: error, or problem document, to show in this dialect's shape.
    """
    problem = problem_of(example) if isinstance(example, DiffusionError) else example
    body = a1111_error(problem)[1]
    shown = Example(summary=body.error, value=msgspec.to_builtins(body))
    return ResponseSpec(A1111Error, description=description, generate_examples=False, examples=[shown])


_Handler = Callable[[Request[Any, Any, Any], Any], Response[Problem]]


def _encoded(handler: Any) -> Callable[[Request[Any, Any, Any], Any], Response[A1111Error]]:
    answer = cast("_Handler", handler)

    def encode(request: Request[Any, Any, Any], error: Any) -> Response[A1111Error]:
        problem = answer(request, error)  # which also logs it and notes its code for the metrics
        status, body = a1111_error(problem.content)
        return Response(body, status_code=status, media_type=JSON, headers=dict(problem.headers))

    return encode


def _renamed(error: FieldError) -> FieldError:
    return FieldError(field=_NAMES.get(error.field, error.field), message=error.message)


WRONG = documented(
    "A field is wrong, asks for what does not exist here, or the model's files cannot be used; `detail` says why.",
    errors.InvalidRequest([FieldError(field="steps", message="must be at most 150, got 999")]),
)
UNKNOWN_CHECKPOINT = documented("No model, LoRA or VAE has this name.", errors.UnknownModel("dmeo", ["demo"]))
TOO_MANY = documented("The client has too many waiting requests.", errors.TooManyRequests(4, retry_after_s=20))
INTERRUPTED = documented(
    "`POST /sdapi/v1/interrupt` of the same client stopped it before its first step.",
    errors.Cancelled("The job was cancelled."),
)
FAILED = documented(
    "Loading the model or making the image failed.",
    errors.GenerationFailed("The image could not be made (RuntimeError). The server's log has the details."),
)
NOT_DOWNLOADED = documented("The Hub did not deliver the model.", errors.DownloadFailed("someone/model is gated."))
BUSY = documented(
    "The queue is full, memory does not suffice, or the server is shutting down.",
    errors.QueueFull(64, retry_after_s=90),
)
TOO_LARGE = documented("The body is larger than `limits.max_body_bytes`.", body_too_large())
IN_USE = documented("Requests use the model.", errors.ModelInUse("Model 'demo' is in use by 1 requests."))
