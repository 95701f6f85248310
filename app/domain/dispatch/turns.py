"""Applies the decisions of `batch_policy` to the queue: starts jobs, allows leases, reports positions."""

from ..memory.pool import ModelPool
from ..models.assets import AssetKey
from ..models.spec import ModelName
from .batch_policy import Batch, Candidate, decide
from .fair_queue import FairQueue, QueuedJob
from .throughput import ThroughputModel

_Lease = tuple[ModelName, int, int, tuple[AssetKey, ...]]
"""What a lease takes: model, bytes, and what is added to the model."""


class Turns:
    """Gives queued jobs their turn. Event loop only."""

    def __init__(self, queue: FairQueue, pool: ModelPool, throughput: ThroughputModel) -> None:
        self._queue = queue
        self._pool = pool
        self._throughput = throughput

    def update(self) -> None:
        """Start jobs and allow leases; called after each change of the queue or of a lease."""
        waiting = {str(number): queued for number, queued in enumerate(self._queue.waiting())}
        decision = decide(self._candidates(waiting), self._batch(), self._throughput.best_rows)
        for key in decision.start:
            self._queue.started(waiting[key])
            waiting[key].may_run.set()
        for key in decision.lease:
            waiting[key].job.state = "loading"
            waiting[key].may_lease.set()
        self._announce([queued for queued in waiting.values() if not queued.accepted.running])

    def _announce(self, waiting: list[QueuedJob]) -> None:
        # Assets that waiting jobs need are evicted last; the pool knows those of jobs that may lease already.
        self._pool.set_lookahead([queued.request.assets for queued in waiting if not queued.may_lease.is_set()])
        for position, queued in enumerate(waiting):
            queued.report_position(position)

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
        return Candidate(
            key=key,
            lane=queued.lane,
            rows=queued.rows,
            may_lease=queued.may_lease.is_set(),
            leased=queued.leased,
            alone=queued.alone,
            overdue=self._queue.overdue(queued),
            resident=self._pool.status(model).residency == "device",
            fits=fits[_wanted(queued)],
        )

    def _batch(self) -> Batch | None:
        running = self._queue.running()
        if not running:
            return None
        rows = sum(queued.rows for queued in running)
        return Batch(lane=running[0].lane, rows=rows, alone=any(queued.alone for queued in running))


def _wanted(queued: QueuedJob) -> _Lease:
    return (queued.request.model, *queued.reserved_nbytes, queued.request.assets.beside)
