"""The dispatcher of one device: bounded queue, batches that requests join at any step, cancellation, shutdown."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..engine import Engine
from ..errors import DiffusionError, QueueFull, TooManyRequests, WaitedTooLong
from ..memory.ledger import Found
from ..memory.plan import Fallback, Plan
from ..memory.pool import Lease, ModelPool
from ..models.spec import ModelName, ModelSpec
from ..requests.rendering import RenderResult
from ..requests.request import GenerationRequest, Resolved
from .accepted_job import AcceptedJob
from .batch_policy import Batch, Candidate, decide
from .fair_queue import AgingPolicy, FairQueue, QueuedJob
from .job import Job, going_down, gone_away
from .lanes import lane_of, rows_an_image
from .memory_fallbacks import FallbackResult, MemoryFallbacks
from .throughput import ThroughputModel
from .watchdog import Watchdog

_USUAL_JOB_S = 5.0
"""Assumed seconds of a job whose model has not made an image yet."""

Resolve = Callable[[ModelSpec], Resolved]
"""Resolves the request of a job with the entry of its model, whose files are on disk; raises InvalidRequest."""
PlanMemory = Callable[[ModelSpec, GenerationRequest], Plan]
"""Plans the memory of a request; raises InsufficientMemory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """Limits of the queue, of the batch and of silence."""

    max_waiting: int = 64
    """Jobs that may wait before the next one is refused."""
    max_waiting_per_client: int | None = None
    """Jobs of one client that may wait before its next one is refused; None for no limit."""
    max_wait_s: float | None = None
    """Seconds after which a job that has not begun to run fails; None for no limit."""
    aging: AgingPolicy = field(default_factory=AgingPolicy)
    max_rows: int = 16
    """Rows of the largest batch of the denoiser; an image with guidance takes two."""
    stuck_after_s: float = 600.0
    """Seconds without a finished step after which the device counts as unresponsive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job that ran: its images, the residency in which it found its model, and the seconds that it waited."""

    resolved: Resolved
    rendered: RenderResult
    savings: tuple[Fallback, ...]
    """Memory fallbacks that were needed."""
    spec: ModelSpec
    """Entry of the model that it ran with."""
    found: Found
    queue_s: float
    load_s: float


class Dispatcher:
    """Runs jobs on one device; `batch_policy` decides which is next, and which model is loaded while the device works.

    A job waits for the files of its model, which delays no other job, then in the queue, then for its lease, then for its turn.
    Event loop only.
    """

    def __init__(
        self,
        pool: ModelPool,
        engine: Engine,
        policy: DispatchPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        plan: PlanMemory | None = None,
    ) -> None:
        """Make a dispatcher with an empty queue; `plan` replaces the memory plan that is made from the shapes of a request."""
        self._pool = pool
        self._fallbacks = MemoryFallbacks(pool, engine)
        self._plan = plan or self._fallbacks.plan
        self._policy = policy = policy or DispatchPolicy()
        self._clock = clock
        self._accepted: list[AcceptedJob] = []
        self._queue = FairQueue(policy.aging, clock)
        self._throughput = ThroughputModel(policy.max_rows)
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._watchdog = Watchdog(clock, policy.stuck_after_s)

    @property
    def depth(self) -> int:
        """Number of jobs that wait or run, including those whose files are being fetched."""
        return len(self._accepted)

    @property
    def unresponsive_because(self) -> str | None:
        """Reason for which the device counts as unresponsive; None while it answers."""
        return self._watchdog.unresponsive.message if self._watchdog.unresponsive is not None else None

    def waiting_by_model(self) -> Counter[ModelName]:
        """Count the jobs that wait for each model and hold no memory yet."""
        leasing = {queued.accepted for queued in self._queue.all() if queued.may_lease.is_set()}
        return Counter(accepted.job.model for accepted in self._accepted if accepted not in leasing)

    def position(self, job_id: str) -> int | None:
        """Return the number of jobs before a waiting one; None if it runs, has ended, or is not in the queue yet."""
        waiting = [queued.job.id for queued in self._queue.waiting()]
        return waiting.index(job_id) if job_id in waiting else None

    def plan(self, spec: ModelSpec, request: GenerationRequest) -> Plan:
        """Plan the memory of a request: bytes, and the savings that it begins with.

        Raises:
            InsufficientMemory: it cannot fit into the budget.
        """
        return self._plan(spec, request)

    def seconds(self, request: GenerationRequest) -> float | None:
        """Estimate the seconds of the device that a request takes, without waiting and loading; None before its model has run."""
        return self._throughput.seconds(request)

    def wait_s(self) -> float:
        """Estimate the seconds that a job would wait if it came now."""
        queued = {job.accepted: job for job in self._queue.all()}
        return sum(
            (self._seconds_of(queued.get(accepted)) or _USUAL_JOB_S) * (1 - accepted.job.fraction)
            for accepted in self._accepted
        )

    async def run(self, job: Job, resolve: Resolve) -> JobResult:
        """Run a job and wait for it. If the waiting task is cancelled, the job stops before its next step.

        Args:
            job: receives the progress.
            resolve: makes the request, after the files of the model have been fetched.

        Raises:
            InvalidRequest: `resolve` refused it.
            InsufficientMemory: it does not fit into the budget, or the device ran out of memory with all savings.
            QueueFull, TooManyRequests: too many jobs wait, in all or of this client.
            WaitedTooLong: it did not begin to run in time.
            EngineStuck: the device does not answer.
            ShuttingDown: the server is going down.
            DiffusionError: every other failure of this job; other jobs are not affected.
        """
        self.refuse_if_full(job.client)
        accepted = AcceptedJob(job=job)
        self._accepted.append(accepted)
        self._idle.clear()
        accepted.work = work = asyncio.create_task(self._serve(accepted, resolve), name=f"job {job.id}")
        work.add_done_callback(lambda _: self._ended(accepted))
        try:
            # Shielded: the work must see the cancellation as a stopped job, not in the middle of a call to the engine.
            result = await asyncio.shield(accepted.outcome)
            job.state = "done"
            return result
        except DiffusionError:
            job.state = "failed"
            raise
        except asyncio.CancelledError:
            accepted.stop(gone_away())
            # The lease must be returned before the client is answered, unless the engine may never return it.
            if self._watchdog.unresponsive is None:
                await asyncio.wait([work])
            job.state = "cancelled"
            raise

    def close(self) -> None:
        """Refuse new jobs from now on, and end those that still wait."""
        self._closing = True
        for accepted in tuple(self._accepted):
            if not accepted.running:
                accepted.stop(going_down())

    async def drain(self, grace_s: float) -> None:
        """Wait for running jobs; stop those that are not done after `grace_s` seconds. Call `close` first."""
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            for accepted in tuple(self._accepted):
                accepted.stop(going_down())
            if self._watchdog.unresponsive is None:
                await self._idle.wait()

    def check_device(self) -> None:
        """End all jobs if the device has finished no step for too long. Call it periodically."""
        # An idle device finishes no steps either: only a running job makes silence suspicious.
        if self._queue.running() and (unresponsive := self._watchdog.check()) is not None:
            for accepted in tuple(self._accepted):
                accepted.give_up(unresponsive)

    def refuse_if_full(self, client: str) -> None:
        """Raise the error with which `run` would refuse a job of a client now.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: as `run` does.
        """
        if self._closing:
            raise going_down()
        if self._watchdog.unresponsive is not None:
            raise self._watchdog.unresponsive.with_traceback(None)
        policy = self._policy
        # The device always works for one job, so the first of several does not wait, even before it runs.
        waiting = len(self._accepted) - max(1, len(self._queue.running()))
        if waiting >= policy.max_waiting:
            raise QueueFull(waiting, retry_after_s=self._retry_after_s())
        own = sum(accepted.job.client == client for accepted in self._accepted if not accepted.running)
        if policy.max_waiting_per_client is not None and own >= policy.max_waiting_per_client:
            raise TooManyRequests(own, retry_after_s=self._retry_after_s())

    async def _serve(self, accepted: AcceptedJob, resolve: Resolve) -> JobResult:
        """Fetch, resolve, plan, queue, lease, run."""
        job, begun = accepted.job, self._clock()
        # The files hold the model's defaults, so a request is resolved after the fetch: equal bodies make equal requests.
        spec = await self._pool.fetch(job.model, job.on_load)
        resolved = resolve(spec)
        queued = self._enter(accepted, spec, resolved.request)
        fetched = self._clock()
        try:
            with self._bounded_wait(accepted):
                self._pump()
                await queued.may_lease.wait()
                asked = self._clock()
                needed, together = queued.reserved_nbytes
                async with self._pool.lease(job.model, needed, job.on_load, together_nbytes=together) as lease:
                    queued.leased, leased = True, self._clock()
                    self._pump()
                    await queued.may_run.wait()
                    started = self._clock()
                    attempt = await self._run(queued, lease)
        finally:
            self._queue.leave(queued)
        return JobResult(
            resolved=resolved,
            rendered=attempt.rendered,
            savings=attempt.savings,
            spec=lease.spec,
            found=lease.found,
            queue_s=asked - fetched + lease.wait_s + started - leased,
            load_s=fetched - begun + lease.load_s,
        )

    def _enter(self, accepted: AcceptedJob, spec: ModelSpec, request: GenerationRequest) -> QueuedJob:
        plan = self._plan(spec, request)
        queued = QueuedJob(accepted=accepted, request=request, plan=plan, arrived_s=self._clock())
        queued.at_once = self._images_at_once(request, plan)
        accepted.job.state = "queued"
        self._queue.enter(queued)
        return queued

    def _images_at_once(self, request: GenerationRequest, plan: Plan) -> int:
        """Return the number of images that are made together: limited by throughput and by memory."""
        # The bytes of a reproducible image must not depend on the batch size. Split guidance runs a single row at a time.
        if request.reproducible or plan.memory_savings.split_guidance:
            return 1
        worthwhile = self._throughput.best_rows(lane_of(request)) // rows_an_image(request)
        return max(1, min(len(request.seeds), worthwhile, plan.room_nbytes // max(plan.step_nbytes, 1)))

    async def _run(self, queued: QueuedJob, lease: Lease) -> FallbackResult:
        job = queued.job
        job.check()
        self._watchdog.heartbeat()

        def on_step(done: int, total: int) -> None:
            self._watchdog.heartbeat()
            job.on_step(done, total)

        attempt = await self._fallbacks.run(
            lease,
            queued.request,
            on_step,
            begin=queued.plan.memory_savings,
            at_once=queued.at_once,
            check=job.check,
            on_preview=job.on_preview if job.previews else None,
        )
        self._throughput.note(queued.request, attempt.rendered)
        return attempt

    @contextmanager
    def _bounded_wait(self, accepted: AcceptedJob) -> Generator[None]:
        """Fail a job if it has not begun to run after the longest wait that is allowed."""
        limit_s = self._policy.max_wait_s
        if limit_s is None:
            yield
            return

        def expire() -> None:
            if not accepted.running:
                accepted.stop(WaitedTooLong(limit_s, retry_after_s=self._retry_after_s()))

        timer = asyncio.get_running_loop().call_later(limit_s, expire)
        try:
            yield
        finally:
            timer.cancel()

    def _ended(self, accepted: AcceptedJob) -> None:
        self._accepted.remove(accepted)
        accepted.publish_outcome()
        if not self._accepted:
            self._idle.set()
        self._pump()

    def _pump(self) -> None:
        """Start jobs and allow leases; called after each change of the queue."""
        waiting = {str(number): queued for number, queued in enumerate(self._queue.waiting())}
        fits: dict[tuple[str, int, int], bool] = {}
        candidates = [self._candidate(key, queued, fits) for key, queued in waiting.items()]
        decision = decide(candidates, self._batch(), self._throughput.best_rows)
        for key in decision.start:
            self._queue.started(waiting[key])
            waiting[key].may_run.set()
        for key in decision.lease:
            waiting[key].job.state = "loading"
            waiting[key].may_lease.set()
        left = [queued for queued in waiting.values() if not queued.accepted.running]
        # Models that waiting jobs need are evicted last; the pool knows the models of jobs that may lease already.
        self._pool.set_lookahead([queued.request.model for queued in left if not queued.may_lease.is_set()])
        for position, queued in enumerate(left):
            queued.report_position(position)

    def _candidate(self, key: str, queued: QueuedJob, fits: dict[tuple[str, int, int], bool]) -> Candidate:
        model, reserved = queued.request.model, queued.reserved_nbytes
        wanted = (model, *reserved)
        # The answer of the pool is cached, because a long queue often wants the same model and bytes many times.
        if wanted not in fits:
            fits[wanted] = not queued.may_lease.is_set() and self._pool.can_admit(model, *reserved)
        return Candidate(
            key=key,
            lane=queued.lane,
            rows=queued.rows,
            may_lease=queued.may_lease.is_set(),
            leased=queued.leased,
            alone=queued.alone,
            overdue=self._queue.overdue(queued),
            resident=self._pool.status(model).residency == "device",
            fits=fits[wanted],
        )

    def _batch(self) -> Batch | None:
        running = self._queue.running()
        if not running:
            return None
        rows = sum(queued.rows for queued in running)
        return Batch(lane=running[0].lane, rows=rows, alone=any(queued.alone for queued in running))

    def _seconds_of(self, queued: QueuedJob | None) -> float | None:
        return self._throughput.seconds(queued.request) if queued is not None else None

    def _retry_after_s(self) -> int:
        """Estimate the seconds after which a refused client should try again."""
        return max(1, round(self.wait_s()))
