"""The queue before a device: fairly between clients, then by priority, then by arrival.

Between clients it is fair queueing by virtual time (start-time fair queueing: Goyal, Vin and Cheng 1996): the virtual time of a
client is the seconds of the device that it has had, measured while its requests run, and the client with the least is served
first. Requests of one batch are charged by their rows. What a request has still to do is estimated, and orders those behind it;
the estimate is never charged. A client that had no work begins with the virtual time of the client that has had the least, so
idle time gives it no right to more than its share. So several clients get equal shares of the device, however many requests one
of them sends, and of which size. A priority orders the requests of one client alone.

A request that was overtaken too often, or has waited too long, goes before the others of its client, and `batch_policy` lets no
later one run before it, so no request starves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from itertools import count, takewhile
from typing import Any

from ..memory.plan import Plan
from ..models.assets import AssetKey
from ..requests.fields import Priority
from ..requests.progress import QueueProgress
from ..requests.render_request import RenderRequest
from .accepted_job import AcceptedJob
from .job import Job
from .lanes import Lane, lane_of
from .memory_fallbacks import Attempt
from .step_meter import StepMeter

_RANKS: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}
_OVERDUE_RANK = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgingPolicy:
    """How long a request can be delayed by those that are served after it."""

    max_overtaken: int = 8
    """Later requests that may be served before one."""
    max_wait_s: float = 30.0
    """Seconds of waiting after which no later request is served before one; its client's priorities no longer count."""


@dataclass(slots=True, eq=False, kw_only=True)
class QueuedJob:
    """A job in the queue: its request is resolved, and its memory is planned."""

    accepted: AcceptedJob
    request: RenderRequest
    plan: Plan
    waiting_since_s: float
    complete: Callable[[], Awaitable[RenderRequest]] | None = None
    """Makes the request that runs, which may hold pictures; None once it is made."""
    meter: StepMeter = field(default_factory=StepMeter)
    attempt: Attempt = field(default_factory=Attempt)
    """How it begins, or goes on after it gave way."""
    versions: dict[AssetKey, str] = field(default_factory=dict[AssetKey, str])
    """Versions of its assets that it was resolved with, or leased last."""
    warnings: tuple[str, ...] = ()
    """Assets that were replaced by other versions before it ended."""
    virtual_start: float = 0.0
    """Virtual time of its turn, while it waits."""
    number: int = 0
    overtaken: int = 0
    """Requests that are served later, but ran before it."""
    due: bool = False
    """Whether the running jobs give way to it."""
    claimed: bool = False
    """Whether the memory for its lease is reserved."""
    leased: bool = False
    """Whether it holds the lease of its model."""
    turn: "asyncio.Task[Any] | None" = None
    """Its claim of a lease, and its work with it."""
    revoked: bool = False
    """Whether its claim or its lease was taken from it before it ran."""
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
        return self.request.rows_an_image * self.attempt.at_once

    @property
    def reserved_nbytes(self) -> tuple[int, int]:
        """Bytes that its lease reserves beside the weights, and the part that adds up over requests in one batch."""
        together = self.plan.step_nbytes * self.attempt.at_once
        return max(self.plan.activation_nbytes, together), together

    async def complete_request(self) -> None:
        """Make the request that runs; at its first turn, because what waits holds no pixels."""
        if self.complete is not None:
            self.request = await self.complete()
            self.complete = None

    def take_versions(self, leased: Mapping[AssetKey, str]) -> None:
        """Note the versions that it runs with. What it has done with other ones is dropped: it begins again from its seeds."""
        replaced = [key for key, version in leased.items() if self.versions.get(key, version) != version]
        self.versions = dict(leased)
        if not replaced:
            return
        if self.attempt.parked is None:
            became = (
                "while the request waited. The images are those of the new version, with the defaults of the old one."
            )
        else:
            self.attempt = replace(self.attempt, parked=None)
            became = "while the images were being made. They were begun again with the new version."
        self.warnings += tuple(f"{_capitalized(key)} was replaced {became}" for key in replaced)

    def allow_lease(self) -> None:
        """Let it lease its model."""
        if not self.job.begun:
            self.job.state = "loading"
        self.may_lease.set()

    def note_claimed(self) -> None:
        """Note that the memory for its lease is reserved."""
        self.claimed = True

    def revoke(self) -> None:
        """Take its claim or its lease from it; it has not run yet."""
        if self.turn is not None and not self.revoked:
            self.revoked = True
            self.turn.cancel()

    def wait_again(self) -> None:
        """Become a waiting job again, which has no lease."""
        self.accepted.running = self.claimed = self.leased = self.revoked = False
        self.job.give_way.clear()
        self.may_lease, self.may_run = asyncio.Event(), asyncio.Event()

    def report_position(self, position: int) -> None:
        """Report the number of requests before it to its client, if that has changed."""
        if position != self.reported_position and not self.job.begun and self.job.on_progress is not None:
            self.reported_position = position
            self.job.on_progress(QueueProgress(position=position))


class FairQueue:
    """The resolved jobs that wait or run, in the order in which they are served. Event loop only."""

    def __init__(
        self, aging: AgingPolicy, clock: Callable[[], float], expected_s: Callable[[RenderRequest], float]
    ) -> None:
        """Make an empty queue.

        Args:
            aging: how long a job can be delayed by later ones.
            clock: seconds, monotonic.
            expected_s: estimates the seconds of the device that a request takes.
        """
        self._aging = aging
        self._clock = clock
        self._expected_s = expected_s
        self._charged_until_s = clock()
        self._jobs: list[QueuedJob] = []
        self._virtual_time = 0.0
        """Virtual time of the client that has had the least, of those that have work."""
        self._had_s: dict[str, float] = {}
        """Virtual time of each client: what it has had of the device when it was charged last."""
        self._numbers = count()

    def enter(self, queued: QueuedJob, *, after: QueuedJob | None = None) -> None:
        """Add a job, or the stage of a job that follows another stage and keeps its place among those of its client."""
        queued.number = next(self._numbers) if after is None else after.number
        client = queued.job.client
        if client not in self._clients():
            self._had_s[client] = max(self.virtual_time(), self._had_s.get(client, 0.0))
        self._jobs.append(queued)

    def leave(self, queued: QueuedJob) -> None:
        """Remove a job that has ended."""
        self.charge()
        self._jobs.remove(queued)
        # A virtual time in the past no longer delays its client, so it can be forgotten; this keeps the dict small.
        now, here = self.virtual_time(), self._clients()
        self._had_s = {client: had_s for client, had_s in self._had_s.items() if had_s > now or client in here}

    def all(self) -> list[QueuedJob]:
        """Return every job, in order of arrival."""
        return list(self._jobs)

    def running(self) -> list[QueuedJob]:
        """Return the jobs that run."""
        return [queued for queued in self._jobs if queued.accepted.running]

    def waiting(self) -> list[QueuedJob]:
        """Return the jobs that do not run, the next one first; sets their virtual starts."""
        by_client: dict[str, list[QueuedJob]] = {}
        for queued in sorted((each for each in self._jobs if not each.accepted.running), key=self._order_in_client):
            by_client.setdefault(queued.job.client, []).append(queued)
        heads = [(self._virtual_finish(client), jobs[0].number, client) for client, jobs in by_client.items()]
        heapify(heads)
        ordered: list[QueuedJob] = []
        while heads:
            virtual_start, _, client = heappop(heads)
            queued = by_client[client].pop(0)
            queued.virtual_start = virtual_start
            ordered.append(queued)
            if by_client[client]:
                heappush(heads, (virtual_start + self._left_s(queued), by_client[client][0].number, client))
        return ordered

    def overdue(self, queued: QueuedJob) -> bool:
        """Return whether no request that is served later may run before a job."""
        waited_s = self._clock() - queued.waiting_since_s
        return queued.due or queued.overtaken >= self._aging.max_overtaken or waited_s >= self._aging.max_wait_s

    def started(self, queued: QueuedJob) -> None:
        """Note that a job runs from now on, and that the waiting jobs before it were overtaken."""
        for other in takewhile(lambda other: other is not queued, self.waiting()):
            other.overtaken += 1
        self.charge()
        queued.accepted.running = queued.job.begun = True
        queued.job.state = "running"
        queued.due = False

    def gave_way(self, queued: QueuedJob) -> None:
        """Let a job that has left the device wait for its next turn."""
        self.charge()
        queued.wait_again()
        queued.overtaken, queued.waiting_since_s = 0, self._clock()

    def charge(self) -> None:
        """Charge the running jobs and their clients for the time since the last call, by their rows of the batch.

        Called before each change of what runs, and before a look at virtual times.
        """
        now, running = self._clock(), self.running()
        elapsed_s, self._charged_until_s = now - self._charged_until_s, now
        rows = sum(queued.rows for queued in running)
        for queued in running:
            share_s = elapsed_s * queued.rows / rows
            queued.job.charged_s += share_s
            self._had_s[queued.job.client] += share_s

    def virtual_time(self) -> float:
        """Return the virtual time of the client that has had the least of the device; it never goes back."""
        least = min(map(self.virtual_time_of, self._clients()), default=self._virtual_time)
        self._virtual_time = max(self._virtual_time, least)
        return self._virtual_time

    def virtual_time_of(self, client: str) -> float:
        """Return the virtual time of a client that has work: the seconds of the device that it has had up to now."""
        self.charge()
        return self._had_s[client]

    def virtual_time_soon(self, client: str) -> float:
        """Return the virtual time of a client after the steps that the device takes now.

        Without the step in progress, a request that has to wait until a client has had more than its own could be called only
        after the next step had begun, and would wait for two.
        """
        running = self.running()
        rows = sum(queued.rows for queued in running)
        in_progress_s = sum(
            queued.meter.step_left_s(self._expected_s(queued.request)) * queued.rows / rows
            for queued in running
            if queued.job.client == client
        )
        return self.virtual_time_of(client) + in_progress_s

    def _virtual_finish(self, client: str) -> float:
        """Estimate the virtual time of a client at the end of what runs for it."""
        left_s = sum(self._left_s(queued) for queued in self.running() if queued.job.client == client)
        return self.virtual_time_of(client) + left_s

    def _left_s(self, queued: QueuedJob) -> float:
        """Estimate the seconds of the device that a job has still to take."""
        return self._expected_s(queued.request) * (1 - queued.meter.fraction)

    def _clients(self) -> set[str]:
        return {queued.job.client for queued in self._jobs}

    def _order_in_client(self, queued: QueuedJob) -> tuple[int, int]:
        return _OVERDUE_RANK if self.overdue(queued) else _RANKS[queued.job.priority], queued.number


def _capitalized(key: AssetKey) -> str:
    title = str(key)
    return title[0].upper() + title[1:]
