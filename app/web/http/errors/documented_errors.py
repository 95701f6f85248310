"""Error responses as the OpenAPI document shows them, and the parameter that several routes share.

Each example is made from the error itself, so that its text is what a client gets.
"""

from typing import Annotated

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import PathParameter

from ....domain import errors
from ....domain.errors import DiffusionError, FieldError
from ..media_types import PROBLEM
from .problems import Problem, problem_of
from .refusals import body_too_large, cross_origin, not_acceptable, not_json, refusal

ModelNameInPath = Annotated[
    str,
    PathParameter(
        description="Name of a model, or an alias; `GET /models` lists both.",
        examples=[Example(summary="demo", value="demo")],
    ),
]


def documented(description: str, example: DiffusionError | Problem) -> ResponseSpec:
    """Document an error response.

    Args:
        description: condition under which a client gets it.
        example: error, or problem document, to show.
    """
    problem = problem_of(example) if isinstance(example, DiffusionError) else example
    shown = Example(summary=problem.code, value=msgspec.to_builtins(problem))
    return ResponseSpec(Problem, media_type=PROBLEM, description=description, generate_examples=False, examples=[shown])


WRONG_FIELDS = documented(
    "The request is wrong; `errors` names every offending field or parameter.",
    errors.InvalidRequest([FieldError(field="n", message="must be at most 8, got 99")]),
)
UNKNOWN = documented(
    "No model, or no adapter or VAE that the request names, has this name; `available` lists those that exist.",
    errors.UnknownModel("dmeo", ["demo"]),
)
IN_USE = documented(
    "Requests use the model, and `wait` is false.",
    errors.ModelInUse("Model 'demo' is in use by 1 requests. Try again later, or wait for them."),
)
UNUSABLE = documented(
    "The model, an adapter or the VAE is listed, but its files cannot be used, or not together; `detail` says why.",
    errors.UnusableModel("old", "it is a pickle."),
)
FAILED = documented(
    "Loading the model or making the image failed.",
    errors.GenerationFailed("The image could not be made (RuntimeError). The server's log has the details."),
)
NOT_DOWNLOADED = documented(
    "The Hugging Face Hub did not deliver the model; `detail` says what to do.",
    errors.DownloadFailed(
        "someone/model is gated. Accept its terms on its page of the Hub, and set HF_TOKEN to a token of that account."
    ),
)
BUSY = documented(
    "The queue is full, memory does not suffice, or the server is shutting down.",
    errors.QueueFull(64, retry_after_s=90),
)
TOO_MANY = documented(
    "The client has as many waiting requests as it may have (`limits.max_waiting_per_client`, `limits.max_waiting`).",
    errors.TooManyRequests(4, retry_after_s=20),
)
CONFLICT = documented(
    "The `Idempotency-Key` came with another model or body before.", errors.IdempotencyConflict("abc")
)
UNKNOWN_IMAGE = documented("No job has this id, or it has no such image.", errors.UnknownImage(0, 0))
UNKNOWN_JOB = documented("No job has this id.", errors.UnknownJob("x"))
EXPIRED = documented("The job ended too long ago, or was removed.", errors.ExpiredJob("x"))
FOREIGN = documented(
    "A web page of another origin sent this, and the server's settings do not list that origin.",
    cross_origin("https://app.example.org"),
)
TOO_LARGE = documented("The body is larger than `limits.max_body_bytes`.", body_too_large())
TOO_SLOW = documented(
    "The body came more slowly than `server.body_timeout_s` and `server.min_bytes_per_s` allow.",
    errors.BodyTooSlow(1000, 21.0),
)
_not_json = not_json("application/xml")
NOT_JSON = documented(
    "The body claims to be of another media type than JSON.", refusal(_not_json.status_code, _not_json.detail)
)
_not_acceptable = not_acceptable(["image/avif"])
NOT_ACCEPTABLE = documented(
    "The Accept header allows none of the formats that images are made in.",
    refusal(_not_acceptable.status_code, _not_acceptable.detail),
)
