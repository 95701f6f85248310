"""The queue before a device: by priority, then fairly between clients, then by arrival.

Between clients it is start-time fair queueing (Goyal, Vin and Cheng 1996, "Start-time fair queuing"): each request gets a virtual
start, the virtual time at which its client's earlier work would be done, and the smallest virtual start is served first. Virtual
time is the virtual start of the request that was started last. A single client is served in order of arrival; several clients
get equal shares of the device, however many requests one of them sends.

A request that was overtaken too often, or has waited too long, is served before all others, so no request starves.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from ..memory.plan import Plan
from ..requests.parameters import Priority
from ..requests.progress import QueueProgress
from ..requests.render_request import RenderRequest
from .accepted_job import AcceptedJob
from .job import Job
from .lanes import Lane, lane_of, rows_an_image, work_of

_RANKS: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}
_OVERDUE_RANK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgingPolicy:
    """How long a request can be delayed by those that arrived after it."""

    max_overtaken: int = 8
    """Later requests that may be served before one."""
    max_wait_s: float = 30.0
    """Seconds of waiting after which no later request is served before one; priorities no longer count."""


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedJob:
    """A job in the queue: its request is resolved, and its memory is planned."""

    accepted: AcceptedJob
    request: RenderRequest
    plan: Plan
    arrived_s: float
    at_once: int = 1
    """Images that are made together."""
    virtual_start: float = 0.0
    number: int = 0
    continues: bool = False
    """Whether it is a later stage of a job, which keeps the place of the first one."""
    overtaken: int = 0
    """Later requests that were served before it."""
    leased: bool = False
    """Whether it holds the lease of its model."""
    may_lease: asyncio.Event = field(default_factory=asyncio.Event)
    may_run: asyncio.Event = field(default_factory=asyncio.Event)
    reported_position: int | None = None

    @property
    def job(self) -> Job:
        """The job's progress and the flag that stops it."""
        return self.accepted.job

    @property
    def lane(self) -> Lane:
        """Lane of its request."""
        return lane_of(self.request)

    @property
    def alone(self) -> bool:
        """Whether it shares no step with another request."""
        return self.request.reproducible or self.plan.memory_savings.split_guidance

    @property
    def rows(self) -> int:
        """Rows of the denoiser's batch that it takes."""
        return rows_an_image(self.request) * self.at_once

    @property
    def reserved_nbytes(self) -> tuple[int, int]:
        """Bytes that its lease reserves beside the weights, and the part that adds up over requests in one batch."""
        together = self.plan.step_nbytes * self.at_once
        return max(self.plan.activation_nbytes, together), together

    def allow_lease(self) -> None:
        """Let it lease its model."""
        if not self.continues:
            self.job.state = "loading"
        self.may_lease.set()

    def report_position(self, position: int) -> None:
        """Report the number of requests before it to its client, if that has changed."""
        if self.continues:
            return  # the client knows that its job runs
        if position != self.reported_position and self.job.on_progress is not None:
            self.reported_position = position
            self.job.on_progress(QueueProgress(position=position))


class FairQueue:
    """The resolved jobs that wait or run, in the order in which they are served. Event loop only."""

    def __init__(self, aging: AgingPolicy, clock: Callable[[], float]) -> None:
        self._aging = aging
        self._clock = clock
        self._jobs: list[QueuedJob] = []
        self._virtual_s = 0.0
        self._finish: dict[str, float] = {}
        self._numbers = count()

    def enter(self, queued: QueuedJob) -> None:
        """Add a job, behind the earlier work of its client."""
        client = queued.job.client
        queued.number = next(self._numbers)
        queued.virtual_start = max(self._virtual_s, self._finish.get(client, 0.0))
        self._finish[client] = queued.virtual_start + work_of(queued.request)
        self._jobs.append(queued)

    def enter_after(self, queued: QueuedJob, before: QueuedJob) -> None:
        """Add the next stage of a job, in the place of the stage before; its work is counted for its client all the same."""
        client = queued.job.client
        queued.continues = True
        queued.number, queued.virtual_start, queued.arrived_s = before.number, before.virtual_start, before.arrived_s
        self._finish[client] = max(self._virtual_s, self._finish.get(client, 0.0)) + work_of(queued.request)
        self._jobs.append(queued)

    def leave(self, queued: QueuedJob) -> None:
        """Remove a job that has ended."""
        self._jobs.remove(queued)
        # A finish time in the past no longer delays its client, so it can be forgotten; this keeps the dict small.
        self._finish = {client: finish for client, finish in self._finish.items() if finish > self._virtual_s}

    def all(self) -> list[QueuedJob]:
        """Return every job, in order of arrival."""
        return list(self._jobs)

    def running(self) -> list[QueuedJob]:
        """Return the jobs that run."""
        return [queued for queued in self._jobs if queued.accepted.running]

    def waiting(self) -> list[QueuedJob]:
        """Return the jobs that do not run yet, the next one first."""
        return sorted((queued for queued in self._jobs if not queued.accepted.running), key=self._order)

    def overdue(self, queued: QueuedJob) -> bool:
        """Return whether no later request may be served before a job."""
        waited_s = self._clock() - queued.arrived_s
        return queued.overtaken >= self._aging.max_overtaken or waited_s >= self._aging.max_wait_s

    def started(self, queued: QueuedJob) -> None:
        """Note that a job runs from now on, and that the waiting jobs before it were overtaken."""
        place = self._order(queued)
        for other in self._jobs:
            if not other.accepted.running and self._order(other) < place:
                other.overtaken += 1
        queued.accepted.running = True
        queued.job.state = "running"
        self._virtual_s = max(self._virtual_s, queued.virtual_start)

    def _order(self, queued: QueuedJob) -> tuple[int, float, int]:
        rank = _OVERDUE_RANK if self.overdue(queued) else _RANKS[queued.job.priority]
        return rank, queued.virtual_start, queued.number
