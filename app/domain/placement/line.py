"""The requests before all devices of a machine: fairly between clients, then by priority, then by arrival.

The same rules as before one device (`dispatch.fair_queue`), for several requests at a time: the virtual time of a client is the
seconds of all devices that it has had, and the client with the least is next.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count, takewhile
from typing import Any

from ..dispatch.fair_queue import AgingPolicy
from ..dispatch.job import Job
from ..dispatch.lanes import Lane, lane_of
from ..dispatch.stage import Stage
from ..errors import DiffusionError, InsufficientMemory
from ..models.spec import ModelSpec
from ..requests.parameters import Priority
from ..requests.progress import QueueProgress
from .serving_device import ServingDevice

_RANKS: dict[Priority, int] = {"high": 1, "normal": 2, "low": 3}
_OVERDUE_RANK = 0


@dataclass(slots=True, eq=False, kw_only=True)
class RoutedJob:
    """A job that counts against the limits of the machine, from its acceptance to its end."""

    job: Job
    stages: Sequence[Stage] = ()
    """Empty until the job is resolved."""
    spec: ModelSpec | None = None
    """Entry of the model with which it was resolved."""
    device: ServingDevice | None = None
    """The device that it was given to."""
    given: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when `device` is."""
    work: "asyncio.Task[Any] | None" = None
    attempt: "asyncio.Task[Any] | None" = None
    """Its run on the device."""
    counted_s: float = 0.0
    """Seconds of a device that the line has charged its client for."""
    number: int = 0
    waiting_since_s: float = 0.0
    overtaken: int = 0
    line_s: float = 0.0
    """Seconds that it stood in the line."""
    unfit: dict[str, InsufficientMemory] = field(default_factory=dict[str, InsufficientMemory])
    """Errors of the devices whose memory is too small for it, by their names."""
    reported_position: int | None = None

    @property
    def key(self) -> str:
        """Its number in the line, by which decisions name it."""
        return str(self.number)

    @property
    def begun(self) -> bool:
        """Whether a device has begun it; also true after that device has failed."""
        return self.job.begun

    @property
    def lane(self) -> Lane:
        """Lane of its first stage."""
        return lane_of(self.stages[0].outline)

    @property
    def rows(self) -> int:
        """Rows of the denoiser's batch that its first stage takes if all of its images are made together."""
        outline = self.stages[0].outline
        return outline.rows_an_image * outline.count

    @property
    def alone(self) -> bool:
        """Whether it shares no step with another request."""
        return self.stages[0].outline.reproducible

    @property
    def part_left(self) -> float:
        """Part of its steps that is not done, 0 to 1."""
        done, total = self.job.steps_done, self.job.steps_total
        return 1 - done / total if total else 1.0

    def misfit(self, devices: Collection[ServingDevice]) -> InsufficientMemory | None:
        """Return the error of one of the devices if the memory of each is too small for it, None otherwise."""
        errors = [self.unfit.get(device.name) for device in devices]
        return errors[-1] if errors and None not in errors else None

    def stop(self, reason: DiffusionError) -> None:
        """End the job: before its next step if it runs, at once otherwise."""
        self.job.stop(reason)
        if self.work is not None:
            self.work.cancel()

    def move(self, device: ServingDevice) -> None:
        """Take the job from its device, which has not begun it, for another one."""
        self.device = device
        if self.attempt is not None:
            self.attempt.cancel()

    def begin_anew(self) -> None:
        """Forget what became of the job on the device that it was given to."""
        self.job, self.attempt, self.counted_s = self.job.anew(), None, 0.0

    def report_position(self, position: int) -> None:
        """Report the number of requests before it to its client, if that has changed."""
        if position != self.reported_position and self.job.on_progress is not None:
            self.reported_position = position
            self.job.on_progress(QueueProgress(position=position))


class Line:
    """The resolved jobs that wait for a device, and those that were given to one. Event loop only."""

    def __init__(
        self, aging: Callable[[], AgingPolicy], clock: Callable[[], float], left_s: Callable[[RoutedJob], float]
    ) -> None:
        """Make an empty line.

        Args:
            aging: tells how long a job can be delayed by later ones now.
            clock: seconds, monotonic.
            left_s: estimates the seconds of a device that a job has still to take.
        """
        self._aging = aging
        self._clock = clock
        self._left_s = left_s
        self._jobs: list[RoutedJob] = []
        self._virtual_time = 0.0
        """Virtual time of the client that has had the least, of those that have work; it never goes back."""
        self._had_s: dict[str, float] = {}
        """Virtual time of each client: what it has had of the devices when it was charged last."""
        self._numbers = count()

    def __iter__(self) -> Iterator[RoutedJob]:
        return iter(self._jobs)

    def enter(self, routed: RoutedJob) -> None:
        """Add a job."""
        client = routed.job.client
        if client not in self._clients():
            self._had_s[client] = max(self._now(), self._had_s.get(client, 0.0))
        routed.number, routed.waiting_since_s = next(self._numbers), self._clock()
        self._jobs.append(routed)

    def leave(self, routed: RoutedJob) -> None:
        """Remove a job that has ended."""
        self._charge()
        self._jobs.remove(routed)
        now, here = self._now(), self._clients()
        self._had_s = {client: had_s for client, had_s in self._had_s.items() if had_s > now or client in here}

    def give(self, routed: RoutedJob, device: ServingDevice) -> None:
        """Give a waiting job to a device; the waiting jobs before it were overtaken."""
        for other in takewhile(lambda other: other is not routed, self.waiting()):
            other.overtaken += 1
        routed.device = device
        routed.given.set()

    def take_back(self, routed: RoutedJob) -> None:
        """Let a job that a device was given wait again."""
        routed.device, routed.given = None, asyncio.Event()

    def given_to(self, device: ServingDevice) -> list[RoutedJob]:
        """Return the jobs that a device was given and that have not ended."""
        return [routed for routed in self._jobs if routed.device is device]

    def waiting(self) -> list[RoutedJob]:
        """Return the jobs that no device was given, the next one first."""
        by_client: dict[str, list[RoutedJob]] = {}
        for routed in sorted((each for each in self._jobs if each.device is None), key=self._order_in_client):
            by_client.setdefault(routed.job.client, []).append(routed)
        heads = [(self._virtual_finish(client), jobs[0].number, client) for client, jobs in by_client.items()]
        heapify(heads)
        ordered: list[RoutedJob] = []
        while heads:
            virtual_start, _, client = heappop(heads)
            routed = by_client[client].pop(0)
            ordered.append(routed)
            if by_client[client]:
                heappush(heads, (virtual_start + self._left_s(routed), by_client[client][0].number, client))
        return ordered

    def overdue(self, routed: RoutedJob) -> bool:
        """Return whether no later job may be given to the device that a job waits for."""
        waited_s = self._clock() - routed.waiting_since_s
        aging = self._aging()
        return routed.overtaken >= aging.max_overtaken or waited_s >= aging.max_wait_s

    def _now(self) -> float:
        least = min(map(self._virtual_time_of, self._clients()), default=self._virtual_time)
        self._virtual_time = max(self._virtual_time, least)
        return self._virtual_time

    def _virtual_time_of(self, client: str) -> float:
        self._charge()
        return self._had_s[client]

    def _virtual_finish(self, client: str) -> float:
        """Estimate the virtual time of a client at the end of what was given away for it."""
        given = (each for each in self._jobs if each.device is not None and each.job.client == client)
        return self._virtual_time_of(client) + sum(map(self._left_s, given))

    def _charge(self) -> None:
        """Charge the clients for what the devices have charged to their jobs since the last call."""
        for routed in self._jobs:
            charged_s = routed.job.charged_s
            self._had_s[routed.job.client] += charged_s - routed.counted_s
            routed.counted_s = charged_s

    def _clients(self) -> set[str]:
        return {routed.job.client for routed in self._jobs}

    def _order_in_client(self, routed: RoutedJob) -> tuple[int, int]:
        return _OVERDUE_RANK if self.overdue(routed) else _RANKS[routed.job.priority], routed.number
