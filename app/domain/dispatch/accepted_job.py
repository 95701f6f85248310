"""A job from its acceptance to its end: the task that serves it, and the outcome that its sender waits for."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from ..errors import DiffusionError
from ..uncancellable import consume_exception
from .job import Job


@dataclass(slots=True, eq=False, kw_only=True)
class AcceptedJob:
    """Counts against the limits on waiting jobs, also while its files are fetched. Event loop only."""

    job: Job
    running: bool = False
    """Whether the engine works on it; true until the work has ended, also after its sender was answered."""
    work: "asyncio.Task[Any] | None" = None
    outcome: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Apart from `work`, so that the sender can be answered while an unresponsive engine keeps the work from ending."""

    def __post_init__(self) -> None:
        """Silence the outcome of a job whose sender has left."""
        self.outcome.add_done_callback(consume_exception)

    def stop(self, reason: DiffusionError) -> None:
        """End it: before its next step if it runs, at once otherwise."""
        self.job.stop(reason)
        # Work of the engine is never abandoned half-way: a running job ends by the flag that its steps look at.
        if not self.running and self.work is not None:
            self.work.cancel()

    def give_up(self, reason: DiffusionError) -> None:
        """End it, and answer its sender now, even if the engine never returns."""
        self.stop(reason)
        if not self.outcome.done():
            self.outcome.set_exception(reason.with_traceback(None))

    def publish_outcome(self) -> None:
        """Answer its sender with the end of the work."""
        assert self.work is not None
        if self.outcome.done():
            return
        if self.work.cancelled():
            self.outcome.set_exception(self.job.reason)
        elif (error := self.work.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(self.work.result())
