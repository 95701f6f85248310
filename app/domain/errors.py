"""The error tree.

    DiffusionError
    ├── InvalidRequest            the client's parameters are wrong; carries every offending field
    ├── UnknownModel              no catalogue entry has this name
    ├── UnusableModel             the entry exists, its files cannot be used
    ├── LoadFailed                the files looked right, loading them failed
    │   └── DownloadFailed        the Hub did not deliver
    ├── InsufficientMemory        it does not fit into the budget, now or ever
    ├── OutOfMemory               the device ran out of memory at work; the ladder of `ladder` takes it from there
    ├── QueueFull                 too many requests wait already
    ├── TooManyRequests           too many requests of one client wait already
    ├── WaitedTooLong             it did not begin to run in time
    ├── EngineStuck               the device has stopped moving
    ├── UnknownJob                no job has this id
    ├── ExpiredJob                the job ended too long ago
    ├── IdempotencyConflict       the key came with another body before
    ├── ModelInUse                the operation must wait until running requests are done
    ├── GenerationFailed          the engine failed while making the image
    │   └── NotFinite             the image held NaN or Inf, in full precision too
    ├── Cancelled                 nobody waits for the result any more
    ├── ShuttingDown              the server is going down
    └── InvalidSettings           settings.toml, a sidecar or the environment is wrong

Every error has a stable `code` for programs, a `title` for people, and a message that says what to do next.
HTTP statuses are not known here: the web layer owns the one table that maps errors to them.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One offending value: where it stands, what is wrong with it, what is allowed."""

    field: str
    """Dotted path, such as `width` or `server.port`."""
    message: str
    """What is allowed, in words."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class DiffusionError(Exception):
    """Base of every error that this package raises on purpose."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(DiffusionError):
    """The parameters are wrong; `errors` names every one of them."""

    code = "invalid_request"
    title = "The request is not valid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class UnknownModel(DiffusionError):
    """No model has this name; `available` lists those that exist."""

    code = "unknown_model"
    title = "There is no such model"

    def __init__(self, name: str, available: Sequence[str]) -> None:
        names = ", ".join(available) or "none at all"
        super().__init__(f"There is no model named {name!r}. Available: {names}.")
        self.name = name
        self.available = tuple(available)


class UnusableModel(DiffusionError):
    """The model is listed, but its files cannot be used; `reason` says why."""

    code = "unusable_model"
    title = "The model's files cannot be used"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"Model {name!r} cannot be used: {reason}")
        self.name = name
        self.reason = reason


class LoadFailed(DiffusionError):
    """Loading failed for a reason that does not lie in the files."""

    code = "load_failed"
    title = "The model could not be loaded"


class DownloadFailed(LoadFailed):
    """The Hub did not deliver: no network, no such repository, no permission, no space."""

    code = "download_failed"
    title = "The model could not be downloaded"


class InsufficientMemory(DiffusionError):
    """The request does not fit into memory; `largest_size`, in pixels, is what would, in the same shape."""

    code = "insufficient_memory"
    title = "Not enough memory"

    def __init__(
        self,
        message: str,
        *,
        needed_nbytes: int,
        available_nbytes: int,
        largest_size: tuple[int, int] | None = None,
        savings: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.needed_nbytes = needed_nbytes
        self.available_nbytes = available_nbytes
        self.largest_size = largest_size
        """Width and height; None where no size fits, or where the size is not to blame."""
        self.savings = tuple(savings)
        """What was tried to save memory; see `ladder`."""


class OutOfMemory(DiffusionError):
    """The device ran out of memory at work. Never reaches a client: see `ladder`."""

    code = "out_of_memory"
    title = "The device ran out of memory"

    def __init__(self, stage: str, free_nbytes: int | None = None) -> None:
        super().__init__(f"The device ran out of memory ({stage}).")
        self.stage = stage
        """`place`, `encode`, `denoise` or `decode`."""
        self.free_nbytes = free_nbytes
        """Bytes that the device had left beside the weights, where it tells."""


class QueueFull(DiffusionError):
    """The queue is at its limit; try again after `retry_after_s` seconds."""

    code = "queue_full"
    title = "Too many requests are waiting"

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} requests are waiting already. Try again in about {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class TooManyRequests(DiffusionError):
    """One client has as many requests waiting as it may; try again after `retry_after_s` seconds."""

    code = "too_many_requests"
    title = "You have too many requests waiting"

    def __init__(self, waiting: int, retry_after_s: int) -> None:
        super().__init__(
            f"{waiting} requests of yours are waiting already, as many as a client may have here. Try again in about "
            f"{retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


class WaitedTooLong(DiffusionError):
    """The request did not begin to run within the longest wait that is allowed."""

    code = "waited_too_long"
    title = "The request waited too long"

    def __init__(self, waited_s: float, retry_after_s: int) -> None:
        super().__init__(
            f"The request waited for {waited_s:g} seconds, the longest that is allowed here, and did not begin to run. "
            f"Try again in about {retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


class EngineStuck(DiffusionError):
    """The device has not finished a step for very long; the server cannot tell whether it ever will."""

    code = "engine_stuck"
    title = "The device does not answer"

    def __init__(self, silent_s: float) -> None:
        super().__init__(
            f"The device has not finished a step for {silent_s:.0f} seconds. Nothing was tried again; restart the server if "
            "/health/ready does not recover."
        )


class UnknownJob(DiffusionError):
    """No job has this id."""

    code = "unknown_job"
    title = "There is no such job"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no job {job_id!r}, and there was none since the server started. GET /jobs lists them."
        )


class ExpiredJob(DiffusionError):
    """There was such a job; it ended too long ago, or was removed."""

    code = "expired_job"
    title = "The job has expired"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job {job_id!r} has expired: finished jobs are kept for a while only, see [jobs] in the server's settings. "
            "Send the request again."
        )


class IdempotencyConflict(DiffusionError):
    """An idempotency key came with another body before."""

    code = "idempotency_conflict"
    title = "This key was used for another request"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} came with another model or body before. Use a new key for a new request."
        )


class ModelInUse(DiffusionError):
    """A request is using the model."""

    code = "model_in_use"
    title = "The model is in use"


class GenerationFailed(DiffusionError):
    """The engine failed while making the image; the model is unharmed."""

    code = "generation_failed"
    title = "The image could not be made"


class NotFinite(GenerationFailed):
    """The decoded image holds NaN or Inf in full precision too."""

    code = "not_finite"
    title = "The image is not a number"


class Cancelled(DiffusionError):
    """The request was cancelled: its client went away, or somebody asked for it."""

    code = "cancelled"
    title = "The request was cancelled"


class ShuttingDown(DiffusionError):
    """The server is going down and finishes no more work."""

    code = "shutting_down"
    title = "The server is shutting down"


class InvalidSettings(DiffusionError):
    """A settings file, a sidecar or an environment variable is wrong; `errors` names every key."""

    code = "invalid_settings"
    title = "The settings are not valid"

    def __init__(self, origin: str, errors: Sequence[FieldError]) -> None:
        lines = "\n".join(f"  {error}" for error in errors)
        super().__init__(f"{origin} is not valid:\n{lines}")
        self.origin = origin
        self.errors = tuple(errors)
