"""A job that clients can look up by its id or join by its idempotency key."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..dispatch.job import JobState
from ..errors import Cancelled, DiffusionError
from ..generator import Generated
from ..models.components import LoadProgress
from ..models.spec import ModelName
from ..requests.early_end import EarlyEnd, Ending
from ..requests.progress import Preview, Progress, QueueProgress, StepProgress
from .event_log import EventLog
from .failures import error_of, failure_of
from .record import JobProgress, JobRecord

_LOAD_PARTS = 100
"""Parts of a load that get an event each, for each of its phases."""

Outcome = Generated | DiffusionError


@dataclass(slots=True, eq=False, kw_only=True)
class TrackedJob:
    """State, progress, events and outcome of one job. Event loop only."""

    id: str
    model: ModelName
    client: str
    created: float
    """Time of acceptance, in seconds since the epoch, as are the other times."""
    prompt: str = ""
    key: str | None = None
    """Idempotency key; None once a request with it starts a new job."""
    body: bytes = b""
    """Digest of the model and the parameters, if there is a key."""
    work: "asyncio.Future[Generated]" = field(init=False)
    """Ends when its outcome is kept."""
    rendering: "asyncio.Task[Generated] | None" = None
    state: JobState = "queued"
    started: float | None = None
    ended: float | None = None
    position: int | None = None
    steps_done: int = 0
    steps_total: int = 0
    restarts: int = 0
    """How often it was begun again because the process that ran it had ended, or its device did not answer."""
    stepped: float | None = None
    """Time of its last step."""
    loading: LoadProgress | None = None
    result: Generated | None = None
    failure: DiffusionError | None = None
    nbytes: int = 0
    """Bytes of its images."""
    callback_url: str | None = None
    log: EventLog = field(default_factory=EventLog)
    detached: bool = True
    """Whether it continues without a waiting client."""
    early_end: EarlyEnd = field(default_factory=EarlyEnd)
    kept: bool = True
    """Whether it can be asked for after its outcome has reached the client that waits for it."""
    stopping: bool = False
    """Whether it was told to end before its next step."""
    abandoned: bool = False
    """Whether that was because no client waited for it."""
    moved: bool = False
    """Whether it was begun again because its device did not answer."""
    waiters: int = 0
    keeping: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a request that joins it changes what is kept of it."""
    accepted: "asyncio.Event" = field(default_factory=asyncio.Event)
    refused: DiffusionError | None = None
    """Why it could not be kept, and so was not begun."""

    @classmethod
    def restored(cls, record: JobRecord, *, continues: bool = False) -> "TrackedJob":
        """Make a job from what is kept of it; its images are not read yet.

        Args:
            record: what is kept.
            continues: whether this process is to continue it.
        """
        log = EventLog(record.events, of_other_process=continues)
        job = cls(
            id=record.id,
            model=record.model,
            client=record.client,
            created=record.created,
            prompt=record.prompt,
            key=record.key,
            body=record.body,
            detached=record.detached,
            callback_url=record.callback_url,
            log=log,
        )
        job.accepted.set()
        job.take_over(record)
        return job

    def take_over(self, record: JobRecord) -> None:
        """Take over what another process has noted of the job."""
        self.state, self.started, self.ended = record.state, record.started, record.ended
        self.steps_done, self.steps_total, self.restarts = record.steps_done, record.steps_total, record.restarts
        self.nbytes = record.nbytes
        self.failure = error_of(record.failure) if record.failure is not None else None
        self.log.take_over(record.events)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed of each of its images; none before it is done."""
        last = self.log.last
        return tuple(last.data["seeds"]) if last is not None and last.kind == "done" else ()

    def record(self) -> JobRecord:
        """Return what is kept of the job before its end."""
        return JobRecord(
            id=self.id,
            model=self.model,
            client=self.client,
            created=self.created,
            prompt=self.prompt,
            key=self.key,
            body=self.body,
            detached=self.detached,
            callback_url=self.callback_url,
            state=self.state,
            started=self.started,
            ended=self.ended,
            steps_done=self.steps_done,
            steps_total=self.steps_total,
            restarts=self.restarts,
            nbytes=self.nbytes,
        )

    def progress(self) -> JobProgress:
        """Return what is kept of the progress."""
        return JobProgress(
            id=self.id,
            state=self.state,
            started=self.started,
            steps_done=self.steps_done,
            steps_total=self.steps_total,
            events=self.log.summary(),
        )

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

    def ending(self, outcome: Outcome, now: float) -> JobRecord:
        """Return what is kept of the job with its outcome, of which no listener is told yet."""
        kind, data = _last_event(outcome)
        failed = isinstance(outcome, DiffusionError)
        return replace(
            self.record(),
            key=None if failed else self.key,  # a request that is sent again starts a new job, not the old error
            state=kind,
            ended=now,
            events=self.log.prepare_end(kind, **data),
            failure=failure_of(outcome) if failed else None,
            nbytes=0 if failed else sum(len(image.data) for image in outcome.images),
        )

    def end(self, outcome: Outcome, record: JobRecord) -> None:
        """Take over the outcome, and tell the listeners."""
        self.state, self.ended, self.nbytes, self.key = record.state, record.ended, record.nbytes, record.key
        self.position, self.loading = None, None
        if isinstance(outcome, DiffusionError):
            self.failure = outcome
        else:
            self.result = outcome
        self.log.end()

    def stop(self) -> None:
        """End before the next step, without waiting for that."""
        # A request that sends its key from now on starts a new job, instead of joining one that is being cancelled.
        self.stopping, self.abandoned = True, False
        if self.rendering is not None:
            self.rendering.cancel()

    def stop_unless_wanted(self) -> None:
        """Stop if no client waits, and it is not to continue without one."""
        if not self.waiters and not self.detached and not self.over and not self.stopping:
            self.stop()
            self.abandoned = True

    def end_early(self, ending: Ending) -> None:
        """End with what is denoised so far; before the first step there is nothing yet, and it is stopped."""
        if self.state == "running":
            self.early_end.ask(ending)
        elif not self.over:
            self.stop()

    def remaining_s(self, now: float) -> float | None:
        """Estimate the seconds until it is done from its own steps; None before its first step and after its end."""
        if self.started is None or self.stepped is None or not self.steps_done or self.over:
            return None
        left_s = (self.stepped - self.started) / self.steps_done * (self.steps_total - self.steps_done)
        return max(0.0, left_s - (now - self.stepped))


def outcome_of(work: "asyncio.Task[Generated]") -> Outcome:
    """Return the images that a task has made, or the error that clients see: without its frames, which hold the pictures."""
    failure = Cancelled("The job was cancelled.") if work.cancelled() else work.exception()
    if failure is None:
        return work.result()
    if isinstance(failure, (Cancelled, asyncio.CancelledError)):
        return Cancelled("The job was cancelled.")
    return failure.with_traceback(None) if isinstance(failure, DiffusionError) else _unexpected(failure)


def _last_event(outcome: Outcome) -> tuple[Literal["done", "failed", "cancelled"], dict[str, Any]]:
    match outcome:
        case Cancelled():
            return "cancelled", {}
        case DiffusionError():
            return "failed", {"code": outcome.code, "detail": outcome.message}
        case _:
            return "done", {"seeds": [image.seed for image in outcome.images]}


def _part(progress: LoadProgress) -> tuple[str, int]:
    """Return the phase of a load and the part of it that is done; the end of a phase is a part of its own."""
    total = max(progress.total_nbytes, 1)
    return progress.phase, progress.done_nbytes * _LOAD_PARTS // total


def _unexpected(failure: BaseException) -> DiffusionError:
    """Make the error that clients see instead of an unexpected one; its cause is the original, for the log."""
    error = DiffusionError("An unexpected error ended the job. The server's log has the details under its id.")
    error.__cause__ = failure
    return error
