"""A job: one accepted request on its way through the server."""

import threading
from dataclasses import dataclass, field
from typing import Literal

from ..errors import Cancelled, DiffusionError, ShuttingDown
from ..models.components import LoadProgress
from ..models.spec import ModelName
from ..requests.early_end import EarlyEnd, Ending
from ..requests.parameters import Priority
from ..requests.progress import OnProgress, Preview, StepProgress
from ..requests.rendering import RawImage

JobState = Literal["queued", "loading", "running", "done", "failed", "cancelled"]
"""Waits for its turn; waits for the files of its model or for the model; runs; has ended, in one of three ways."""


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
    steps_done: int = 0
    steps_total: int = 0
    on_progress: OnProgress | None = None
    previews: bool = False
    """Whether `on_progress` receives unfinished images too."""
    early_end: EarlyEnd = field(default_factory=EarlyEnd)
    give_way: threading.Event = field(default_factory=threading.Event)
    """Asks it to leave the device after its step, and to wait for its next turn."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _reason: DiffusionError | None = None

    @property
    def fraction(self) -> float:
        """Part of its steps that is done, 0 to 1."""
        return self.steps_done / self.steps_total if self.steps_total else 0.0

    @property
    def reason(self) -> DiffusionError:
        """Reason for which it was stopped."""
        return self._reason or Cancelled("The request was cancelled.")

    def stop(self, reason: DiffusionError) -> None:
        """Ask the job to end before its next step. Any thread; the first reason counts."""
        if self._reason is None:
            self._reason = reason
        self._stop.set()

    def check(self) -> None:
        """Raise the reason for which the job was stopped, if it was."""
        if self._stop.is_set():
            raise self.reason

    def on_load(self, progress: LoadProgress) -> None:
        """Pass on the progress of a load."""
        if self.on_progress is not None:
            self.on_progress(progress)

    def on_preview(self, image: RawImage, done: int, total: int) -> None:
        """Pass on an unfinished image."""
        if self.on_progress is not None:
            self.on_progress(Preview(image=image, done=done, total=total))

    def on_step(self, done: int, total: int) -> Ending | None:
        """Note a finished step; return what is to end early, raise if the job was stopped. Called from the engine thread."""
        self.steps_done, self.steps_total = done, total
        if self.on_progress is not None:
            self.on_progress(StepProgress(done=done, total=total))
        self.check()
        return self.early_end.take() if done else None  # before the first step there is nothing to end with


def gone_away() -> Cancelled:
    """Make the reason for stopping a job whose client has disconnected."""
    return Cancelled("The client disconnected before the image was finished.")


def going_down() -> ShuttingDown:
    """Make the reason for stopping a job when the server shuts down."""
    return ShuttingDown("The server is shutting down. Send the request again after its restart.")
