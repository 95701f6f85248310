"""Jobs as they are kept: everything about one that outlives the process, without its images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..dispatch.job import JobState
from ..models.spec import ModelName
from .event_log import JobEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error of a job in plain values."""

    code: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Attributes of the error besides its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job. Times are seconds since the epoch."""

    id: str
    model: ModelName
    client: str
    created: float
    prompt: str = ""
    """What it was asked to show; empty once it has expired."""
    key: str | None = None
    """Idempotency key; None once a request with it starts a new job."""
    body: bytes = b""
    """Digest of the model and the parameters, if there is a key."""
    detached: bool = True
    """Whether it continues without a waiting client."""
    state: JobState = "queued"
    started: float | None = None
    ended: float | None = None
    steps_done: int = 0
    steps_total: int = 0
    restarts: int = 0
    """How often it was begun again because the process that ran it had ended."""
    events: tuple[JobEvent, ...] = ()
    failure: Failure | None = None
    nbytes: int = 0
    """Bytes of its images."""
    callback_url: str | None = None
    cancel_requested: bool = False
    expired: bool = False
    """Whether its images, events and parameters are gone."""

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """What changes of a job while it is unfinished."""

    id: str
    state: JobState
    started: float | None
    steps_done: int
    steps_total: int
    events: tuple[JobEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    """Place of a job in the list of all jobs, the newest first."""

    created: float
    id: str

    def comes_before(self, other: "JobPlace") -> bool:
        """Tell whether this is the newer one."""
        return (self.created, self.id) > (other.created, other.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQuery:
    """Which jobs to list, the newest first."""

    owner: str | None = None
    """The only client whose jobs are listed; None for those of all."""
    state: JobState | None = None
    model: str | None = None
    prompt: str | None = None
    """Text that the prompt contains; case makes no difference."""
    created_from: float | None = None
    created_before: float | None = None
    after: JobPlace | None = None
    """The last job of the page before."""
    limit: int = 100

    def matches(self, job: JobRecord) -> bool:
        """Tell whether a job is listed."""
        return (
            not job.expired
            and self.owner in (None, job.client)
            and self.state in (None, job.state)
            and self.model in (None, job.model)
            and (self.prompt is None or self.prompt.lower() in job.prompt.lower())
            and (self.created_from is None or job.created >= self.created_from)
            and (self.created_before is None or job.created < self.created_before)
            and (self.after is None or self.after.comes_before(place_of(job)))
        )


def place_of(job: JobRecord) -> JobPlace:
    """Return the place of a job in the list of all jobs."""
    return JobPlace(created=job.created, id=job.id)
