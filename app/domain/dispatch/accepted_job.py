"""A job from its acceptance to its end: the task that serves it, and the outcome that its client waits for."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..errors import DiffusionError, TooMuchWork
from ..memory.plan import Fallback
from ..models.spec import ModelSpec, Residency
from ..requests.render_request import RenderRequest
from ..requests.rendering import RenderResult
from ..uncancellable import consume_exception
from .job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job that ran: its images, the residency in which it found its model, and the seconds that it waited."""

    rendered: RenderResult
    savings: tuple[Fallback, ...]
    """Memory fallbacks that were needed."""
    spec: ModelSpec
    """Entry of the model that it ran with first."""
    request: RenderRequest
    """That of its last stage, with its pictures and the assets in the versions that it leased."""
    found: Residency
    start_s: float
    """Seconds that it waited for the engine's start."""
    queue_s: float
    load_s: float
    upscale_s: float = 0.0
    """Seconds that upscalers took."""


@dataclass(slots=True, eq=False, kw_only=True)
class AcceptedJob:
    """A job that counts against the limits on waiting jobs, also while its files are fetched. Event loop only."""

    job: Job
    resolved_with: ModelSpec | None = None
    """Entry of the model by which its requests were resolved; None before that."""
    running: bool = False
    """Whether the engine works on it; true until the work has ended, also if its client was answered before."""
    must_end_after_s: float | None = None
    """Seconds of the device after which it is stopped, because they could not be estimated; None for no limit."""
    device_s: float = 0.0
    """Seconds that it has taken the device in the turns that have ended."""
    work: "asyncio.Task[JobResult] | None" = None
    outcome: "asyncio.Future[JobResult]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Separate from `work`, so that the client gets an answer even if an unresponsive engine never ends the work."""

    def __post_init__(self) -> None:
        """Keep asyncio from reporting the error of a job whose client has disconnected."""
        self.outcome.add_done_callback(consume_exception)

    def stop(self, reason: DiffusionError) -> None:
        """End the job: before its next step if it runs, at once otherwise."""
        self.job.stop(reason)
        # A running job is not cancelled, because work of the engine must run to its end: its next step checks the flag.
        if not self.running and self.work is not None:
            self.work.cancel()

    def stop_if_too_long(self, turn_s: float) -> None:
        """Stop the job if its turns have taken the device for too long. Any thread.

        Args:
            turn_s: seconds since its present turn began.
        """
        taken_s = self.device_s + turn_s
        if self.must_end_after_s is not None and taken_s > self.must_end_after_s:
            self.job.stop(TooMuchWork(taken_s, self.must_end_after_s, ran=True))

    def give_up(self, reason: DiffusionError) -> None:
        """End the job, and answer its client now, even if the engine never returns."""
        self.stop(reason)
        if not self.outcome.done():
            self.outcome.set_exception(reason.with_traceback(None))

    @contextmanager
    def must_begin_within(self, limit_s: float | None, reason: Callable[[], DiffusionError]) -> Generator[None]:
        """Stop the job with `reason()` if it does not run after `limit_s` seconds; None for no limit."""
        if limit_s is None:
            yield
            return

        def expire() -> None:
            if not self.job.begun:
                self.stop(reason())

        timer = asyncio.get_running_loop().call_later(limit_s, expire)
        try:
            yield
        finally:
            timer.cancel()

    def publish_outcome(self) -> None:
        """Answer the client with the result or the error of the work, and forget the work.

        A task that was cancelled keeps the frames that it was cancelled in, which refer to this object: its pictures would stay
        until the garbage collector looks.
        """
        work, self.work = self.work, None
        assert work is not None
        if self.outcome.done():
            consume_exception(work)  # its client was told something else before
        elif work.cancelled():
            self.outcome.set_exception(self.job.reason)
        elif (error := work.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(work.result())
