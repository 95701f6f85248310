"""A job: one accepted request on its way through the server."""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from ..errors import Cancelled, DiffusionError, ShuttingDown
from ..models.components import LoadProgress
from ..models.spec import ModelName
from ..requests.early_end import EarlyEnd, Ending
from ..requests.fields import Priority
from ..requests.progress import OnProgress, Preview, StepProgress
from ..requests.rendering import RawImage

JobState = Literal["queued", "loading", "running", "done", "failed", "cancelled"]
"""Waits for its turn; waits for the files of its model or for the model; runs; has ended, in one of three ways."""

BeforeLoad = Callable[[], Awaitable[None]]
"""Awaited before the model of a job is loaded for it, which may end the process."""


@dataclass(slots=True, kw_only=True)
class Job:
    """Progress of one request, and the flag that stops it.

    The event loop changes `state` and sets the flag; the engine thread reads the flag between two steps.
    """

    id: str
    model: ModelName
    client: str = ""
    """Name of the sender; clients share the device fairly."""
    priority: Priority = "normal"
    state: JobState = "loading"
    begun: bool = False
    """Whether a device has worked on it; stays true while it gives way to others, and after that device has failed."""
    charged_s: float = 0.0
    """Seconds of the device that its client was charged for: its part, by rows, of the batches that it was in."""
    steps_done: int = 0
    steps_total: int = 0
    on_progress: OnProgress | None = None
    previews: bool = False
    """Whether `on_progress` receives unfinished images too."""
    early_end: EarlyEnd = field(default_factory=EarlyEnd)
    before_load: BeforeLoad | None = None
    """Awaited once, if its model is loaded for it."""
    give_way: threading.Event = field(default_factory=threading.Event)
    """Asks it to leave the device after its step, and to wait for its next turn."""
    _steps_before: int = 0
    """Steps of the stages that have ended."""
    _steps_after: int = 0
    """Steps that are expected of the stages after this one."""
    _stage: tuple[int, int] = (0, 0)
    """Steps of the present stage that are done, and all of them."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _reason: DiffusionError | None = None

    @property
    def fraction(self) -> float:
        """Part of the steps of its present stage that is done, 0 to 1."""
        done, total = self._stage
        return done / total if total else 0.0

    @property
    def reason(self) -> DiffusionError:
        """Reason for which it was stopped."""
        return self._reason or Cancelled("The request was cancelled.")

    def anew(self) -> "Job":
        """Return the job as it was before a device was given it, to be run by another one."""
        return Job(
            id=self.id,
            model=self.model,
            client=self.client,
            priority=self.priority,
            state="queued",
            on_progress=self.on_progress,
            previews=self.previews,
            early_end=self.early_end,
            before_load=self.before_load,
        )

    def enter_stage(self, *, steps_after: int) -> None:
        """Count the steps that are reported next behind those that were reported so far.

        Args:
            steps_after: expected steps of the stages after the one that begins.
        """
        self._steps_before, self._steps_after, self._stage = self.steps_done, steps_after, (0, 0)

    def stop(self, reason: DiffusionError) -> None:
        """Ask the job to end before its next step. Any thread; the first reason counts."""
        if self._reason is None:
            self._reason = reason
        self._stop.set()

    def check(self) -> None:
        """Raise the reason for which the job was stopped, if it was."""
        if self._stop.is_set():
            raise self.reason

    async def begin_load(self) -> None:
        """Await `before_load`, at the first call."""
        if self.before_load is not None:
            await self.before_load()
            self.before_load = None

    def on_load(self, progress: LoadProgress) -> None:
        """Pass on the progress of a load."""
        if self.on_progress is not None:
            self.on_progress(progress)

    def on_preview(self, image: RawImage, done: int, total: int) -> None:
        """Pass on an unfinished image."""
        done, total = self._counted(done, total)
        if self.on_progress is not None:
            self.on_progress(Preview(image=image, done=done, total=total))

    def on_step(self, done: int, total: int) -> Ending | None:
        """Note a finished step; return what is to end early, raise if the job was stopped. Called from the engine thread."""
        self._stage = begun, _ = done, total
        done, total = self._counted(done, total)
        self.steps_done, self.steps_total = done, total
        if self.on_progress is not None:
            self.on_progress(StepProgress(done=done, total=total))
        self.check()
        return self.early_end.take() if begun else None  # before the first step there is nothing to end with

    def _counted(self, done: int, total: int) -> tuple[int, int]:
        """Count steps of a stage among those of all stages."""
        return self._steps_before + done, self._steps_before + total + self._steps_after


def gone_away() -> Cancelled:
    """Make the reason for stopping a job whose client has disconnected."""
    return Cancelled("The client disconnected before the image was finished.")


def going_down() -> ShuttingDown:
    """Make the reason for stopping a job when the server shuts down."""
    return ShuttingDown("The server is shutting down. Send the request again after its restart.")
