"""The waiting line: whose turn is next, by priority, then fairly between clients, then by arrival.

Between clients it is start-time fair queueing (Goyal, Vin and Cheng 1996, "Start-time fair queuing"): each request gets a tag,
the virtual time at which its client's work before it would be done, and the smallest tag is first. Virtual time is the tag of
what started last. A client alone is served in order of arrival; of several each gets the same share of the device, however
many requests one of them sends.

Whoever has been passed over too often or for too long goes before everybody, so nobody starves.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from ..errors import DiffusionError
from ..memory.plan import Plan
from ..requests.parameters import Priority
from ..requests.progress import QueueProgress
from ..requests.request import GenerationRequest
from ..uncancellable import consume_exception
from .job import Job
from .lanes import Lane, lane_of, rows_an_image, work_of

TicketState = Literal["fetching", "waiting", "called", "ready", "running"]
"""Its files are being downloaded; it stands in line; its model is being leased; it has its lease; it runs."""

_RANKS: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}
_OVERDUE_RANK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgingPolicy:
    """How far a request may fall behind those that came after it."""

    max_overtaken: int = 8
    """So many requests from behind may be served before it."""
    max_wait_s: float = 30.0
    """So long it may wait before nobody from behind goes before it, and priorities no longer count."""


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedJob:
    """One job's place in the line."""

    job: Job
    request: GenerationRequest
    plan: Plan
    arrived_s: float
    state: TicketState = "fetching"
    at_once: int = 1
    """How many of its images are made together."""
    virtual_start: float = 0.0
    number: int = 0
    overtaken: int = 0
    """How many from behind were served before it."""
    may_lease: asyncio.Event = field(default_factory=asyncio.Event)
    may_run: asyncio.Event = field(default_factory=asyncio.Event)
    work: "asyncio.Task[Any] | None" = None
    outcome: "asyncio.Future[Any]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """What whoever sent it waits for."""
    reported_position: int | None = None
    """The position that its sender knows of."""

    def __post_init__(self) -> None:
        self.outcome.add_done_callback(consume_exception)

    @property
    def lane(self) -> Lane:
        """Whom it can share steps with."""
        return lane_of(self.request)

    @property
    def alone(self) -> bool:
        """Whether it must share no step with anybody."""
        return self.request.reproducible or self.plan.memory_savings.split_guidance

    @property
    def rows(self) -> int:
        """Of the denoiser's batch."""
        return rows_an_image(self.request) * self.at_once

    @property
    def reserved_nbytes(self) -> tuple[int, int]:
        """What its lease reserves beside the weights, and how much of that adds up with those who share its steps."""
        together = self.plan.step_nbytes * self.at_once
        return max(self.plan.activation_nbytes, together), together

    def stop(self, reason: DiffusionError) -> None:
        """End it: before its next step if it runs, at once otherwise."""
        self.job.stop(reason)
        if self.state != "running" and self.work is not None:
            self.work.cancel()

    def give_up(self, reason: DiffusionError) -> None:
        """End it, and tell its sender now, whatever the engine does."""
        self.stop(reason)
        if not self.outcome.done():
            self.outcome.set_exception(reason.with_traceback(None))

    def publish_outcome(self) -> None:
        """Tell its sender how the work ended."""
        assert self.work is not None
        if self.outcome.done():
            return
        if self.work.cancelled():
            self.outcome.set_exception(self.job.reason)
        elif (error := self.work.exception()) is not None:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(self.work.result())

    def report_position(self, position: int) -> None:
        """Let its sender know how many are before it, where that has changed."""
        if position != self.reported_position and self.job.on_progress is not None:
            self.reported_position = position
            self.job.on_progress(QueueProgress(position=position))


class FairQueue:
    """Everybody who waits or runs. Event loop only."""

    def __init__(self, aging: AgingPolicy, clock: Callable[[], float]) -> None:
        self._aging = aging
        self._clock = clock
        self._queued_jobs: list[QueuedJob] = []
        self._virtual_s = 0.0
        self._finish: dict[str, float] = {}
        self._numbers = count()

    def __len__(self) -> int:
        """How many wait or run."""
        return len(self._queued_jobs)

    def enter(self, queued: QueuedJob) -> None:
        """Stand in line."""
        client = queued.job.client
        queued.number = next(self._numbers)
        queued.virtual_start = max(self._virtual_s, self._finish.get(client, 0.0))
        self._finish[client] = queued.virtual_start + work_of(queued.request)
        self._queued_jobs.append(queued)

    def leave(self, queued: QueuedJob) -> None:
        """Be done, or give up."""
        self._queued_jobs.remove(queued)
        self._finish = {client: finish for client, finish in self._finish.items() if finish > self._virtual_s}

    def all(self) -> list[QueuedJob]:
        """Everybody, in order of arrival."""
        return list(self._queued_jobs)

    def running(self) -> list[QueuedJob]:
        """Those that run."""
        return [queued for queued in self._queued_jobs if queued.state == "running"]

    def waiting(self) -> list[QueuedJob]:
        """Those that do not run yet and have their files, the next one first."""
        return sorted((t for t in self._queued_jobs if t.state in ("waiting", "called", "ready")), key=self._order)

    def overdue(self, queued: QueuedJob) -> bool:
        """Whether nobody from behind may be served before it any more."""
        aging = self._aging
        return queued.overtaken >= aging.max_overtaken or self._clock() - queued.arrived_s >= aging.max_wait_s

    def started(self, queued: QueuedJob) -> None:
        """It runs from now on; those who were before it have been passed over."""
        place = self._order(queued)
        for other in self._queued_jobs:
            if other.state != "running" and self._order(other) < place:
                other.overtaken += 1
        queued.state = "running"
        self._virtual_s = max(self._virtual_s, queued.virtual_start)

    def _order(self, queued: QueuedJob) -> tuple[int, float, int]:
        rank = _OVERDUE_RANK if self.overdue(queued) else _RANKS[queued.job.priority]
        return rank, queued.virtual_start, queued.number
