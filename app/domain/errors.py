"""The error tree.

    DiffusionError
    ├── InvalidRequest            the client's parameters are wrong; carries every offending field
    ├── UnknownAsset              no catalogue entry has this name
    │   ├── UnknownModel
    │   ├── UnknownAdapter
    │   └── UnknownVae
    ├── UnusableAsset             the entry exists, its files cannot be used
    │   ├── UnusableModel
    │   ├── UnusableAdapter
    │   └── UnusableVae
    ├── LoadFailed                loading failed, although the files are valid
    │   └── DownloadFailed        the Hub did not deliver the files
    ├── InsufficientMemory        the request does not fit into the memory budget
    ├── OutOfMemory               the device ran out of memory while it worked; handled by `dispatch.memory_fallbacks`
    ├── QueueFull                 too many requests are waiting
    ├── TooManyRequests           too many requests of one client are waiting
    ├── RateLimited               the client's key has used its requests or its work of this minute
    ├── Unauthorized              no valid key came with the request
    ├── ConflictingKeys           different keys came with the request
    ├── Forbidden                 the client's key does not allow this
    ├── WaitedTooLong             the request did not begin to run in time
    ├── EngineStuck               the device has finished no step for too long
    ├── EngineFailed              the engine could not start
    ├── UnknownJob                no job has this id
    ├── ExpiredJob                the job is no longer kept
    ├── IdempotencyConflict       the idempotency key was sent before with another body
    ├── KeyTaken                  another process has just accepted a job with the same idempotency key
    ├── Interrupted               the process that ran the job has ended too often
    ├── StorageUnavailable        jobs cannot be kept: the disk is full, or the database does not answer
    ├── ModelInUse                the operation must wait until running requests have ended
    ├── GenerationFailed          the engine failed to make the image
    │   └── NotFinite             the image holds NaN or Inf, in float32 too
    ├── Cancelled                 the client cancelled the request, or disconnected
    ├── ShuttingDown              the server is shutting down
    ├── BodyTooSlow               the body of a request did not come in time
    ├── BodiesFull                the bodies of all requests together take too much memory
    └── InvalidSettings           settings.toml, a sidecar or the environment is wrong

Every error has a stable `code` for programs, a `title` for people, and a message that names the limit, its setting and the
next step. HTTP statuses are not known here: the table in `web.http.errors.problems` maps errors to them.
"""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from .likely_name import likely_name
from .shown import cut

_MAX_NAMES = 50
"""Names of models that a message lists."""


class FieldError(msgspec.Struct, frozen=True, kw_only=True):
    """One offending field of a request or a settings file."""

    field: str
    """Dotted path, such as `width` or `server.port`."""
    message: str
    """Allowed values, and the value that was sent."""

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class DiffusionError(Exception):
    """Base class of every error that this package raises on purpose."""

    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidRequest(DiffusionError):
    """The parameters are wrong; `errors` names every offending field."""

    code = "invalid_request"
    title = "The request is not valid"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


class UnknownAsset(DiffusionError):
    """No asset of a kind has this name; `available` lists the names that exist."""

    code = "unknown_asset"
    title = "There is no such asset"
    noun: ClassVar[str] = "asset"

    def __init__(self, name: str, available: Sequence[str], *, chain: Sequence[str] = ()) -> None:
        """Make the error.

        Args:
            name: what was asked for.
            available: names that exist.
            chain: names that an alias led to, the missing one last.
        """
        self.name = name
        self.available = tuple(available)
        self.likely = likely_name(chain[-1] if chain else name, available)
        """The available name that the wrong one most likely means."""
        hint = f" Did you mean {self.likely!r}?" if self.likely else ""
        more = len(available) - _MAX_NAMES
        names = ", ".join(available[:_MAX_NAMES]) or "none"
        super().__init__(
            f"{_nothing_named(self.noun, name, chain)}{hint} Available: {names}{f' and {more} more' if more > 0 else ''}."
        )


class UnknownModel(UnknownAsset):
    """No model has this name, or the alias of this name leads to none."""

    code = "unknown_model"
    title = "There is no such model"
    noun = "model"


class UnknownAdapter(UnknownAsset):
    """No adapter has this name."""

    code = "unknown_adapter"
    title = "There is no such adapter"
    noun = "adapter"


class UnknownVae(UnknownAsset):
    """No VAE has this name."""

    code = "unknown_vae"
    title = "There is no such VAE"
    noun = "VAE"


class UnusableAsset(DiffusionError):
    """The asset is listed, but its files cannot be used; `reason` says why."""

    code = "unusable_asset"
    title = "The asset's files cannot be used"
    noun: ClassVar[str] = "Asset"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{self.noun} {name!r} cannot be used: {reason}")
        self.name = name
        self.reason = reason


class UnusableModel(UnusableAsset):
    """The model is listed, but its files cannot be used."""

    code = "unusable_model"
    title = "The model's files cannot be used"
    noun = "Model"


class UnusableAdapter(UnusableAsset):
    """The adapter is listed, but its file cannot be used, or not with the model of the request."""

    code = "unusable_adapter"
    title = "The adapter cannot be used"
    noun = "Adapter"


class UnusableVae(UnusableAsset):
    """The VAE is listed, but its file cannot be used, or not with the model of the request."""

    code = "unusable_vae"
    title = "The VAE cannot be used"
    noun = "VAE"


class LoadFailed(DiffusionError):
    """Loading failed for a reason other than the content of the files."""

    code = "load_failed"
    title = "The model could not be loaded"


class DownloadFailed(LoadFailed):
    """The Hub did not deliver: no network, no such repository, no permission, or no disk space."""

    code = "download_failed"
    title = "The model could not be downloaded"


class InsufficientMemory(DiffusionError):
    """The request does not fit into memory; `largest_size` is the largest size of the same shape that would."""

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
        """Width and height in pixels; None if no size fits, or if the size is not the cause."""
        self.savings = tuple(savings)
        """Memory fallbacks that were tried."""


class OutOfMemory(DiffusionError):
    """The device ran out of memory while it worked. Never reaches a client: see `dispatch.memory_fallbacks`."""

    code = "out_of_memory"
    title = "The device ran out of memory"

    def __init__(self, stage: str, free_nbytes: int | None = None) -> None:
        super().__init__(f"The device ran out of memory ({stage}).")
        self.stage = stage
        """`place`, `encode`, `denoise` or `decode`."""
        self.free_nbytes = free_nbytes
        """Bytes that the device had left beside the weights; None if it does not report them."""


class QueueFull(DiffusionError):
    """The queue is at its limit; try again after `retry_after_s` seconds."""

    code = "queue_full"
    title = "Too many requests are waiting"

    def __init__(
        self, count: int, retry_after_s: int, *, state: str = "waiting", setting: str = "limits.max_waiting"
    ) -> None:
        super().__init__(
            f"The server has {_requests(count, state)}, its limit ({setting}). Try again in about {retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


class TooManyRequests(DiffusionError):
    """One client has the most requests waiting that it may have; try again after `retry_after_s` seconds."""

    code = "too_many_requests"
    title = "You have too many requests waiting"

    def __init__(
        self,
        waiting: int,
        retry_after_s: int,
        *,
        free: int | None = None,
        setting: str = "limits.max_waiting_per_client",
    ) -> None:
        """Say which limit was reached.

        Args:
            waiting: requests of the client that wait.
            retry_after_s: seconds after which it should try again.
            free: places left in the queue, if the client has as many; None if it has its limit in the settings.
            setting: the one with its limit.
        """
        limit = (
            f"the limit per client ({setting})"
            if free is None
            else f"as many as there are free places in the queue ({free}, limits.max_waiting), which are kept for other clients"
        )
        super().__init__(
            f"You have {_requests(waiting, 'waiting')}, {limit}. Try again in about {retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


class RateLimited(DiffusionError):
    """A key has used its requests or its work of this minute; try again after `retry_after_s` seconds."""

    code = "rate_limited"
    title = "You have reached a limit of your key"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(f"{message} Try again in about {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class Unauthorized(DiffusionError):
    """No valid key came with the request."""

    code = "unauthorized"
    title = "A key is needed"


class ConflictingKeys(DiffusionError):
    """Different keys came with the request, so that it has no one sender."""

    code = "conflicting_keys"
    title = "The request carries different keys"

    def __init__(self) -> None:
        super().__init__(
            "The headers Authorization and X-API-Key carry different keys. Send one, as Authorization: Bearer, as X-API-Key, or "
            "as the password of HTTP Basic."
        )


class Forbidden(DiffusionError):
    """The client's key does not allow this; `scopes` has those that would, if that is a matter of scopes."""

    code = "forbidden"
    title = "Your key does not allow this"

    def __init__(self, message: str, scopes: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.scopes = tuple(scopes)


class WaitedTooLong(DiffusionError):
    """The request did not begin to run within the longest wait that is allowed."""

    code = "waited_too_long"
    title = "The request waited too long"

    def __init__(self, waited_s: float, retry_after_s: int) -> None:
        super().__init__(
            f"The request waited for {waited_s:g} seconds, the limit (limits.max_wait_s), and did not begin to run. "
            f"Try again in about {retry_after_s} seconds."
        )
        self.retry_after_s = retry_after_s


class TooMuchWork(DiffusionError):
    """The request would take the device for longer than one request may, by its estimate or, without one, by the clock."""

    code = "too_much_work"
    title = "The request takes too long"

    def __init__(self, seconds: float, limit_s: float, *, ran: bool = False) -> None:
        what = "has taken the device for" if ran else "would take the device for about"
        super().__init__(
            f"The request {what} {_duration(seconds)}; the limit of one request is {_duration(limit_s)} (limits.max_request_s). "
            "Ask for fewer images, fewer steps or a smaller size, or send several requests."
        )


class EngineStuck(DiffusionError):
    """The device has finished no step for too long; it may or may not continue."""

    code = "engine_stuck"
    title = "The device does not answer"

    def __init__(self, silent_s: float, limit_s: float) -> None:
        super().__init__(
            f"The device has finished no step for {silent_s:.0f} seconds; the limit is {limit_s:g} (dispatch.stuck_after_s). "
            "Wait until /health/ready answers 200, or restart the server; then send the request again."
        )


class EngineFailed(DiffusionError):
    """The engine could not start: the device that the settings name does not exist, or its libraries fail."""

    code = "engine_failed"
    title = "The engine could not start"


class DeviceLost(EngineFailed):
    """The device answers no call any more, as after an access to a wrong address; only a new process can use it."""

    code = "device_lost"
    title = "The device is lost"

    def __init__(self, device: str, reason: str) -> None:
        super().__init__(
            f"The device {device} answers no calls any more ({cut(reason)}). Restart the server, because nothing in this "
            "process can revive it; then send the request again."
        )


class UnknownJob(DiffusionError):
    """No job has this id."""

    code = "unknown_job"
    title = "There is no such job"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {cut(job_id)!r}, or it belongs to another client. GET /jobs lists yours.")


class UnknownImage(DiffusionError):
    """The job has no such image, or not yet."""

    code = "unknown_image"
    title = "There is no such image"

    def __init__(self, index: int, count: int) -> None:
        images = "one image, number 0" if count == 1 else f"{count} images, counted from 0"
        has = images if count else "no images, or not yet"
        super().__init__(f"There is no image {index}: the job has {has}. `image_urls` of the job lists them.")


class ExpiredJob(DiffusionError):
    """The job existed, but is no longer kept: it ended too long ago, was displaced by newer jobs, or was removed."""

    code = "expired_job"
    title = "The job has expired"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"The job {cut(job_id)!r} was removed: finished jobs are kept for a limited time (jobs.keep_s, jobs.max_finished, "
            "jobs.max_result_bytes). Send the request again."
        )


class IdempotencyConflict(DiffusionError):
    """An idempotency key was sent before with another model or body."""

    code = "idempotency_conflict"
    title = "This key was used for another request"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {cut(key)!r} was sent before with another model or body. Use a new key for a new request."
        )


class KeyTaken(DiffusionError):
    """A job with this idempotency key was accepted a moment ago; the one who asks looks it up again."""

    code = "key_taken"
    title = "This key is in use"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Another request with the Idempotency-Key {cut(key)!r} was accepted a moment ago. Send yours again."
        )


class Interrupted(DiffusionError):
    """As many processes have ended while they worked on the job as may."""

    code = "interrupted"
    title = "The server ended while the job ran"

    def __init__(self, restarts: int) -> None:
        super().__init__(
            f"The server ended {restarts} times while it loaded the model of this job or ran it, so the job is not begun again "
            "(jobs.max_attempts). The server's log and the system's tell why it ended: often too little memory, then send a "
            "smaller request, or a damaged model file."
        )


class StorageUnavailable(DiffusionError):
    """Jobs cannot be kept now: the disk is full, or the database does not answer."""

    code = "storage_unavailable"
    title = "Jobs cannot be kept now"
    retry_after_s: ClassVar[int] = 30
    """Seconds after which there may be space again."""


class ModelInUse(DiffusionError):
    """Running requests use the model."""

    code = "model_in_use"
    title = "The model is in use"


class GenerationFailed(DiffusionError):
    """The engine failed to make the image; the model is unchanged."""

    code = "generation_failed"
    title = "The image could not be made"


class NotFinite(GenerationFailed):
    """The decoded image holds NaN or Inf, in float32 too."""

    code = "not_finite"
    title = "The image is not a number"


class Cancelled(DiffusionError):
    """The client cancelled the request, or disconnected."""

    code = "cancelled"
    title = "The request was cancelled"
    abandoned: bool = False
    """Whether it was a job whose clients had all gone: a request with its key begins it anew."""

    def __init__(self, message: str, *, abandoned: bool = False) -> None:
        """Make the error.

        Args:
            message: for people.
            abandoned: whether it was a job whose clients had all gone.
        """
        super().__init__(message)
        if abandoned:
            self.abandoned = True


class ShuttingDown(DiffusionError):
    """The server is shutting down and begins no more work."""

    code = "shutting_down"
    title = "The server is shutting down"
    retry_after_s: ClassVar[int] = 5
    """Seconds after which another process behind the same address, or this one after a restart, is likely to answer."""


class BodyTooSlow(DiffusionError):
    """The body of a request did not come in time."""

    code = "body_too_slow"
    title = "The request's body came too slowly"

    def __init__(self, nbytes: int, waited_s: float) -> None:
        super().__init__(
            f"{nbytes} bytes of the request's body came in {waited_s:.0f} seconds, and not its end. The limit is the seconds of "
            "server.body_timeout_s, and one more for each server.min_bytes_per_s bytes. Send the request again."
        )


class BodiesFull(DiffusionError):
    """The bodies of requests that are being read or answered take all the memory that there is for them."""

    code = "bodies_full"
    title = "There is no memory for the request's body"
    retry_after_s: ClassVar[int] = 5

    def __init__(self, held_nbytes: int, own_nbytes: int, max_nbytes: int) -> None:
        super().__init__(
            f"The bodies of all requests take {held_nbytes} of {max_nbytes} bytes (limits.max_buffered_bytes), those from your "
            f"address {own_nbytes}; one address may hold as many as are free. Send the request again once others are answered."
        )


class InvalidSettings(DiffusionError):
    """A settings file, a sidecar or an environment variable is wrong; `errors` names every key."""

    code = "invalid_settings"
    title = "The settings are not valid"

    def __init__(self, origin: str, errors: Sequence[FieldError]) -> None:
        lines = "\n".join(f"  {error}" for error in errors)
        super().__init__(f"{origin} is not valid:\n{lines}")
        self.origin = origin
        self.errors = tuple(errors)


def _nothing_named(noun: str, name: str, chain: Sequence[str]) -> str:
    if not chain:
        return f"There is no {noun} named {cut(name)!r}."
    path = ", which is an alias of ".join(map(repr, chain))
    missing = "no model is named so" if chain[-1] != "default" else "models.default is empty"
    return f"There is no model for {name!r}: it is an alias of {path} (models.aliases in the settings), and {missing}."


def _duration(seconds: float) -> str:
    return f"{seconds:.3g} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _requests(count: int, state: str) -> str:
    return f"{count} {state} request" + ("" if count == 1 else "s")
