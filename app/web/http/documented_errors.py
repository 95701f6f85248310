"""Error responses as the OpenAPI document shows them, each with an example, and the parameter that several routes share."""

from typing import Annotated, Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter

from ...domain import errors
from ...domain.errors import DiffusionError, FieldError
from .problems import MEDIA_TYPE, STATUS, Problem

ModelNameInPath = Annotated[
    str,
    PathParameter(
        description="Name of a model; `GET /models` lists them.", examples=[Example(summary="demo", value="demo")]
    ),
]


def problem(description: str, kind: type[DiffusionError], detail: str, **facts: Any) -> ResponseSpec:
    """A documented error response.

    Args:
        description: when it happens.
        kind: the error of the example.
        detail: its message.
        facts: further fields of the example.
    """
    return _documented(
        description, Problem(title=kind.title, status=STATUS[kind], code=kind.code, detail=detail, **facts)
    )


def _documented(description: str, example: Problem) -> ResponseSpec:
    shown = Example(summary=example.code, value=msgspec.to_builtins(example))
    return ResponseSpec(
        Problem, media_type=MEDIA_TYPE, description=description, generate_examples=False, examples=[shown]
    )


WRONG_FIELDS = problem(
    "Something in the request is wrong; `errors` names every offending field.",
    errors.InvalidRequest,
    "n: must be at most 8, got 99",
    errors=[FieldError(field="n", message="must be at most 8, got 99")],
)
UNKNOWN = problem(
    "No model has this name; `available` lists those that exist.",
    errors.UnknownModel,
    "There is no model named 'dmeo'. Available: demo.",
    available=["demo"],
)
IN_USE = problem(
    "Requests use the model, and `wait` is false.",
    errors.ModelInUse,
    "Model 'demo' is in use by 1 requests. Try again later, or wait for them.",
)
UNUSABLE = problem(
    "The model is listed, but its files cannot be used; `detail` says why.",
    errors.UnusableModel,
    "Model 'old' cannot be used: it is a pickle.",
)
FAILED = problem(
    "The model could not be loaded, or the image not be made.",
    errors.GenerationFailed,
    "The image could not be made (RuntimeError). The server's log has the details.",
)
NOT_DOWNLOADED = problem(
    "The Hugging Face Hub did not deliver the model; `detail` says what to do.",
    errors.DownloadFailed,
    "someone/sdxl is gated. Accept its terms on its page of the Hub, and set HF_TOKEN to a token of that account.",
)
BUSY = problem(
    "Too many requests wait, memory does not suffice, or the server is going down.",
    errors.QueueFull,
    "The server has 64 waiting requests, its limit (limits.max_waiting). Try again in about 90 seconds.",
)
TOO_MANY = problem(
    "This client has as many requests waiting as it may.",
    errors.TooManyRequests,
    "You have 4 waiting requests, the limit per client (limits.max_waiting_per_client). Try again in about 20 seconds.",
)
CONFLICT = problem(
    "The `Idempotency-Key` came with another model or body before.",
    errors.IdempotencyConflict,
    "The Idempotency-Key 'abc' was sent before with another model or body. Use a new key for a new request.",
)
UNKNOWN_JOB = problem(
    "No job has this id.",
    errors.UnknownJob,
    "There is no job 'x', and there has been none since the server started. GET /jobs lists all jobs.",
)
EXPIRED = problem(
    "There was such a job; it ended too long ago, or was removed.",
    errors.ExpiredJob,
    "The job 'x' was removed: finished jobs are kept for a limited time (jobs.keep_s, jobs.max_finished, "
    "jobs.max_result_bytes). Send the request again.",
)
FOREIGN = _documented(
    "A web page of another origin sent this, and the server's settings do not list that origin.",
    Problem(
        title="A page of another origin may not do this",
        status=403,
        code="cross_origin",
        detail='A web page at "https://app.example.org" sent this request. If it may, add "https://app.example.org" to '
        "allowed_origins under [server] in the server's settings.",
    ),
)
TOO_LARGE = _documented(
    "The body is too large.",
    Problem(
        title="The request is too large",
        status=413,
        code="body_too_large",
        detail="The request body is larger than limits.max_body_bytes in the server's settings.",
    ),
)
NOT_JSON = _documented(
    "The body claims to be something else than JSON.",
    Problem(
        title="This media type is not understood",
        status=415,
        code="unsupported_media_type",
        detail="The body is of type 'application/xml'. Send JSON, with the header content-type: application/json.",
    ),
)
