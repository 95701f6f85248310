"""Applies the decisions of `batch_policy` to the queue: starts jobs, allows leases, has a batch give way, reports positions."""

import asyncio
from collections.abc import Callable

from ..memory.pool import DevicePool
from ..models.assets import AssetKey
from ..models.spec import ModelName
from .batch_policy import Batch, Candidate, decide
from .fair_queue import FairQueue, QueuedJob
from .throughput import ThroughputModel

_Lease = tuple[ModelName, int, int, tuple[AssetKey, ...]]
"""What a lease takes: model, bytes, and what is added to the model."""
_SWAPS = 4
"""Times the seconds of bringing two models to the device that a batch runs before one of them takes the other's place: swaps take
a fifth of the device's time at most."""
_SHORTEST = 20
"""Shortest turn of a batch, as the part of a time slice that it is: a change costs milliseconds."""
_ROUNDING_S = 0.001
"""Seconds after the end of a slice at which it has ended, however the clock is rounded."""
_LOOKS = 4
"""Looks a time slice at a batch that has run for longer than one: its work counts for its clients as it is done."""


class Turns:
    """Gives queued jobs their turn. Event loop only."""

    def __init__(
        self,
        queue: FairQueue,
        pool: DevicePool,
        throughput: ThroughputModel,
        *,
        slice_s: float,
        clock: Callable[[], float],
        is_lost: Callable[[], bool],
    ) -> None:
        """Give turns on a device.

        Args:
            queue: the jobs.
            pool: the models.
            throughput: knows the size of batches that is worth running.
            slice_s: seconds for which a batch runs before it gives way to a client that has had less of the device.
            clock: seconds, monotonic.
            is_lost: tells whether the device cannot be used any more; then no job gets a turn, and another device may have it.
        """
        self._is_lost = is_lost
        self._queue = queue
        self._pool = pool
        self._throughput = throughput
        self._slice_s = slice_s
        self._clock = clock
        self._taken_up_s: float | None = None
        """When the device took up the batch that runs; None while it is idle."""
        self._next_look: asyncio.TimerHandle | None = None

    def update(self) -> None:
        """Start jobs, allow leases and end time slices; called after each change of the queue or of a lease."""
        if self._is_lost():
            return
        waiting = {str(number): queued for number, queued in enumerate(self._queue.waiting())}
        batch = self._batch()
        if batch is None:
            self._taken_up_s = None
        candidates = self._candidates(waiting)
        decision = decide(candidates, batch, self._throughput.best_rows)
        for key in decision.start:
            self._queue.started(waiting[key])
            waiting[key].may_run.set()
        for key in decision.lease:
            waiting[key].allow_lease()
        for key in decision.revoke:
            waiting[key].revoke()
        if decision.give_way_to is not None:
            waiting[decision.give_way_to].due = True
            for queued in self._queue.running():
                queued.job.give_way.set()
        self._announce([queued for queued in waiting.values() if not queued.accepted.running])
        self._look_again(min((candidate.slice_s for candidate in candidates), default=None))

    def _announce(self, waiting: list[QueuedJob]) -> None:
        # Assets that waiting jobs need are evicted last; the pool knows those of jobs that may lease already.
        self._pool.set_lookahead([queued.request.assets for queued in waiting if not queued.may_lease.is_set()])
        for position, queued in enumerate(waiting):
            queued.report_position(position)

    def _look_again(self, slice_s: float | None) -> None:
        """Update when the slice of a batch that others wait for ends, and from then on in a part of a slice; None: none wait."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._taken_up_s is None and self._queue.running():
            self._taken_up_s = self._clock()
        if slice_s is not None and self._taken_up_s is not None:
            left_s = slice_s - (self._clock() - self._taken_up_s)
            in_s = left_s + _ROUNDING_S if left_s > 0 else self._slice_s / _LOOKS
            self._next_look = asyncio.get_running_loop().call_later(in_s, self.update)

    def _candidates(self, waiting: dict[str, QueuedJob]) -> list[Candidate]:
        fits: dict[_Lease, bool] = {}
        for queued in waiting.values():
            wanted = _wanted(queued)
            # The pool is asked once for equal leases, because a long queue often wants the same many times. A lease that is
            # allowed may not be granted yet, so the pool does not count its bytes: the equal ones behind it must wait for it.
            if wanted not in fits:
                fits[wanted] = not queued.may_lease.is_set() and self._pool.can_admit(*wanted)
        return [self._candidate(key, queued, fits) for key, queued in waiting.items()]

    def _candidate(self, key: str, queued: QueuedJob, fits: dict[_Lease, bool]) -> Candidate:
        model = queued.request.model
        status = self._pool.status(model)
        admitted = fits[_wanted(queued)]
        return Candidate(
            key=key,
            lane=queued.lane,
            rows=queued.rows,
            may_lease=queued.may_lease.is_set(),
            # A revoked lease is being returned: it can start nothing.
            leased=queued.leased and not queued.revoked,
            alone=queued.alone,
            client=queued.job.client,
            virtual_start=queued.virtual_start,
            slice_s=self._slice_s_before(queued, admitted),
            claimed=queued.claimed and not queued.revoked,
            overdue=self._queue.overdue(queued),
            resident=status.residency == "device",
            fits=admitted,
        )

    def _slice_s_before(self, queued: QueuedJob, admitted: bool) -> float:
        """Return the seconds that a batch runs before a job takes its turn.

        They are fewer for a job that takes less than a slice itself, so that a small one waits for little more than a step.
        They are more for one whose model takes the place of the batch's.
        """
        if queued.leased or admitted:
            seconds = self._throughput.seconds(queued.request)
            return self._slice_s if seconds is None else min(self._slice_s, max(seconds, self._slice_s / _SHORTEST))
        models = {queued.request.model, *(running.request.model for running in self._queue.running())}
        return max(self._slice_s, _SWAPS * sum(self._pool.status(model).swap_s for model in models if len(models) > 1))

    def _batch(self) -> Batch | None:
        running = self._queue.running()
        if not running:
            return None
        return Batch(
            lane=running[0].lane,
            rows=sum(queued.rows for queued in running),
            alone=any(queued.alone for queued in running),
            virtual_now={queued.job.client: self._queue.virtual_time_soon(queued.job.client) for queued in running},
            ran_s=0.0 if self._taken_up_s is None else self._clock() - self._taken_up_s,
            giving_way=any(queued.job.give_way.is_set() for queued in running),
        )


def _wanted(queued: QueuedJob) -> _Lease:
    return (queued.request.model, *queued.reserved_nbytes, queued.request.assets.beside)
