"""A job that clients can look up by its id or join by its idempotency key."""

import asyncio
from dataclasses import dataclass, field

from ..dispatch.job import JobState
from ..errors import Cancelled, DiffusionError
from ..generator import Generated
from ..models.components import LoadProgress
from ..models.spec import ModelName
from ..requests.early_end import EarlyEnd
from ..requests.progress import Preview, Progress, QueueProgress, StepProgress
from .event_log import EventLog

_LOAD_PARTS = 100
"""Parts of a load that get an event each, for each of its phases."""


@dataclass(slots=True, eq=False, kw_only=True)
class TrackedJob:
    """State, progress, events and outcome of one job. Event loop only."""

    id: str
    model: ModelName
    client: str
    created: float
    """Time of acceptance, in seconds since the epoch, as are the other times."""
    work: "asyncio.Task[Generated]" = field(init=False)
    state: JobState = "queued"
    started: float | None = None
    ended: float | None = None
    position: int | None = None
    steps_done: int = 0
    steps_total: int = 0
    stepped: float | None = None
    """Time of its last step."""
    loading: LoadProgress | None = None
    result: Generated | None = None
    failure: DiffusionError | None = None
    log: EventLog = field(default_factory=EventLog)
    detached: bool = True
    """Whether it continues without a waiting client."""
    early_end: EarlyEnd = field(default_factory=EarlyEnd)
    kept: bool = True
    """Whether it can be asked for after its outcome has reached the client that waits for it."""
    waiters: int = 0

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def nbytes(self) -> int:
        """Bytes of its images."""
        return sum(len(image.data) for image in self.result.images) if self.result is not None else 0

    def note(self, progress: Progress, now: float) -> None:
        """Take over a report of progress; ignored after the end."""
        if self.over:
            return
        match progress:
            case QueueProgress(position=position):
                self.state, self.position = "queued", position
                self.log.add("queued", position=position)
            case LoadProgress():
                self._note_load(progress)
            case StepProgress(done=done, total=total):
                self._note_step(done, total, now)
            case Preview():
                pass  # `Previews` encodes it first, and adds the event

    def _note_load(self, progress: LoadProgress) -> None:
        before, self.loading = self.loading, progress
        if self.state == "loading" and before is not None and _part(before) == _part(progress):
            return
        self.state = "loading"
        self.log.add(
            "loading", phase=progress.phase, done_nbytes=progress.done_nbytes, total_nbytes=progress.total_nbytes
        )

    def _note_step(self, done: int, total: int, now: float) -> None:
        self.started = self.started if self.started is not None else now
        self.state, self.position, self.loading = "running", None, None
        self.stepped, self.steps_done, self.steps_total = now, done, total
        self.log.add("step", done=done, total=total)

    def end(self, work: "asyncio.Task[Generated]", now: float) -> None:
        """Take over the outcome of its work."""
        self.ended, self.position, self.loading = now, None, None
        failure = Cancelled("The job was cancelled.") if work.cancelled() else work.exception()
        if failure is None:
            self.state, self.result = "done", work.result()
            self.log.add("done", seeds=[image.seed for image in self.result.images])
        elif isinstance(failure, (Cancelled, asyncio.CancelledError)):
            self.state, self.failure = "cancelled", Cancelled("The job was cancelled.")
            self.log.add("cancelled")
        else:
            self.state = "failed"
            self.failure = failure if isinstance(failure, DiffusionError) else _unexpected(failure)
            self.log.add("failed", code=self.failure.code, detail=self.failure.message)

    def remaining_s(self, now: float) -> float | None:
        """Estimate the seconds until it is done from its own steps; None before its first step and after its end."""
        if self.started is None or self.stepped is None or not self.steps_done or self.over:
            return None
        left_s = (self.stepped - self.started) / self.steps_done * (self.steps_total - self.steps_done)
        return max(0.0, left_s - (now - self.stepped))


def _part(progress: LoadProgress) -> tuple[str, int]:
    """Return the phase of a load and the part of it that is done; the end of a phase is a part of its own."""
    total = max(progress.total_nbytes, 1)
    return progress.phase, progress.done_nbytes * _LOAD_PARTS // total


def _unexpected(failure: BaseException) -> DiffusionError:
    """Make the error that clients see instead of an unexpected one; its cause is the original, for the log."""
    error = DiffusionError("An unexpected error ended the job. The server's log has the details under its id.")
    error.__cause__ = failure
    return error
