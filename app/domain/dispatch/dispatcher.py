"""The dispatcher: a bounded line before one device, batches that requests join at any step, cancellation, a clean end."""

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
from ..requests.request import GenerationRequest
from .batch_policy import Batch, Candidate, decide
from .fair_queue import AgingPolicy, FairQueue, QueuedJob, TicketState
from .job import Job, going_down, gone_away
from .lanes import lane_of, rows_an_image
from .memory_fallbacks import FallbackResult, MemoryFallbacks
from .throughput import ThroughputModel
from .watchdog import Watchdog

_USUAL_JOB_S = 5.0
"""Assumed length of a job whose model has not made an image yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """The rules of the line."""

    max_waiting: int = 64
    """Jobs that may wait before the next one is refused."""
    max_waiting_per_client: int | None = None
    """The same for each client."""
    max_wait_s: float | None = None
    """A job that has not begun to run by then is given up."""
    aging: AgingPolicy = field(default_factory=AgingPolicy)
    max_rows: int = 16
    """Rows of the denoiser's batch at most; two for each image with guidance."""
    stuck_after_s: float = 600.0
    """A device that has not finished a step for so long is taken for stuck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A job that ran: what came out, where its model was found, what it waited for."""

    rendered: RenderResult
    savings: tuple[Fallback, ...]
    """Which rungs of the ladder saved memory."""
    model_version: str
    found: Found
    queue_s: float
    load_s: float


class Dispatcher:
    """Runs jobs on one device. Those of one lane share steps; `schedule` decides who is next, and whose model comes meanwhile.

    A job waits for its files, which may take long and holds up nobody, then in line, then for its model, then for its turn.
    """

    def __init__(
        self,
        pool: ModelPool,
        engine: Engine,
        policy: DispatchPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._fallbacks = MemoryFallbacks(pool, engine)
        self._policy = policy = policy or DispatchPolicy()
        self._clock = clock
        self._queue = FairQueue(policy.aging, clock)
        self._throughput = ThroughputModel(policy.max_rows)
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._watchdog = Watchdog(clock, policy.stuck_after_s)

    @property
    def depth(self) -> int:
        """Jobs that wait or run."""
        return len(self._queue)

    @property
    def unresponsive_because(self) -> str | None:
        """Why the device is taken for stuck; None while it works."""
        return self._watchdog.unresponsive.message if self._watchdog.unresponsive is not None else None

    def in_line(self) -> Counter[ModelName]:
        """How many jobs wait for each model, and hold no memory yet."""
        return Counter(queued.request.model for queued in self._queue.all() if queued.state in ("fetching", "waiting"))

    def position(self, job_id: str) -> int | None:
        """How many jobs are before a waiting one; None once it runs or has ended."""
        waiting = [queued.job.id for queued in self._queue.waiting()]
        return waiting.index(job_id) if job_id in waiting else None

    def plan(self, spec: ModelSpec, request: GenerationRequest) -> Plan:
        """How much memory a request takes, and what it saves from the start.

        Raises:
            InsufficientMemory: it cannot fit into the budget.
        """
        return self._fallbacks.plan(spec, request)

    def seconds(self, request: GenerationRequest) -> float | None:
        """Seconds of the device that a request will take, waiting and loading apart; None where nothing is known."""
        return self._throughput.seconds(request)

    def wait_s(self) -> float:
        """Seconds until a job that came now would run, as far as is known."""
        return sum(
            (self._throughput.seconds(queued.request) or _USUAL_JOB_S) * (1 - queued.job.fraction)
            for queued in self._queue.all()
        )

    async def run(self, job: Job, request: GenerationRequest, plan: Plan) -> JobResult:
        """Run a request and wait for it. When the waiting task is cancelled, the job stops before its next step.

        Args:
            job: what its progress is noted in.
            request: what to make.
            plan: of `plan`; where the device runs out of memory, more is saved than it says.

        Raises:
            InsufficientMemory: the device ran out of memory whatever was saved.
            QueueFull, TooManyRequests: too many jobs wait already, of all or of this client.
            WaitedTooLong: it has waited as long as it may.
            EngineStuck: the device does not answer.
            ShuttingDown: the server is going down.
            DiffusionError: whatever went wrong with this job, and with no other.
        """
        queued = self._admit(job, request, plan)
        queued.work = work = asyncio.create_task(self._serve(queued), name=f"job {job.id}")
        work.add_done_callback(lambda _: self._ended(queued))
        try:
            job_result = await asyncio.shield(queued.outcome)
            job.state = "finished"
            return job_result
        except DiffusionError:
            job.state = "failed"
            raise
        except asyncio.CancelledError:
            job.state = "cancelled"
            queued.stop(gone_away())
            if self._watchdog.unresponsive is None:
                await asyncio.wait([work])
            raise

    def close(self) -> None:
        """Refuse new jobs from now on, and end those that still wait."""
        self._closing = True
        for queued in self._queue.all():
            if queued.state != "running":
                queued.stop(going_down())

    async def drain(self, grace_s: float) -> None:
        """Wait for running jobs; stop those that are not done after `grace_s` seconds. Call `close` first."""
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            for queued in self._queue.all():
                queued.stop(going_down())
            if self._watchdog.unresponsive is None:
                await self._idle.wait()

    def check_device(self) -> None:
        """Tell everybody who waits if the device has not moved for too long. Call it from time to time."""
        if self._queue.running() and (unresponsive := self._watchdog.check()) is not None:
            for queued in self._queue.all():
                queued.give_up(unresponsive)

    def refuse_if_full(self, client: str) -> None:
        """Refuse a job of a client if `run` would.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: as `run` does.
        """
        if self._closing:
            raise going_down()
        if self._watchdog.unresponsive is not None:
            raise self._watchdog.unresponsive.with_traceback(None)
        policy, everybody = self._policy, self._queue.all()
        waiting = len(everybody) - max(1, len(self._queue.running()))
        if waiting >= policy.max_waiting:
            raise QueueFull(waiting, retry_after_s=self._retry_after_s())
        own = sum(queued.job.client == client for queued in everybody if queued.state != "running")
        if policy.max_waiting_per_client is not None and own >= policy.max_waiting_per_client:
            raise TooManyRequests(own, retry_after_s=self._retry_after_s())

    def _admit(self, job: Job, request: GenerationRequest, plan: Plan) -> QueuedJob:
        self.refuse_if_full(job.client)
        queued = QueuedJob(job=job, request=request, plan=plan, arrived_s=self._clock())
        queued.at_once = self._at_once(request, plan)
        self._queue.enter(queued)
        self._idle.clear()
        return queued

    def _retry_after_s(self) -> int:
        """When what waits now will have run, as far as is known."""
        return max(1, round(self.wait_s()))

    def _at_once(self, request: GenerationRequest, plan: Plan) -> int:
        """How many of a request's images are made together: as many as pay and fit, one where bytes must not depend on it."""
        if request.reproducible or plan.memory_savings.split_guidance:
            return 1
        paying = self._throughput.best_rows(lane_of(request)) // rows_an_image(request)
        return max(1, min(len(request.seeds), paying, plan.room_nbytes // max(plan.step_nbytes, 1)))

    async def _serve(self, queued: QueuedJob) -> JobResult:
        job, request = queued.job, queued.request
        begun = self._clock()
        await self._pool.fetch(request.model, job.on_load)
        fetched = self._advance(queued, "waiting")
        with self._bounded_wait(queued):
            await queued.may_lease.wait()
            asked = self._clock()
            needed, together = queued.reserved_nbytes
            async with self._pool.lease(request.model, needed, job.on_load, together_nbytes=together) as lease:
                leased = self._advance(queued, "ready")
                await queued.may_run.wait()
                started = self._clock()
                attempt = await self._run(queued, lease)
        return JobResult(
            rendered=attempt.rendered,
            savings=attempt.savings,
            model_version=lease.spec.version,
            found=lease.found,
            queue_s=asked - fetched + lease.wait_s + started - leased,
            load_s=fetched - begun + lease.load_s,
        )

    async def _run(self, queued: QueuedJob, lease: Lease) -> FallbackResult:
        job = queued.job
        job.check()
        job.state = "running"
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
    def _bounded_wait(self, queued: QueuedJob) -> Generator[None]:
        """Give a job up that has not begun to run after the longest wait that is allowed."""
        limit_s = self._policy.max_wait_s
        if limit_s is None:
            yield
            return

        def expire() -> None:
            if queued.state != "running":
                queued.stop(WaitedTooLong(limit_s, retry_after_s=self._retry_after_s()))

        timer = asyncio.get_running_loop().call_later(limit_s, expire)
        try:
            yield
        finally:
            timer.cancel()

    def _advance(self, queued: QueuedJob, state: TicketState) -> float:
        """Note how far a ticket is, and see what follows from it. Returns the time."""
        queued.state = state
        self._pump()
        return self._clock()

    def _ended(self, queued: QueuedJob) -> None:
        self._queue.leave(queued)
        queued.publish_outcome()
        if not len(self._queue):
            self._idle.set()
        self._pump()

    def _pump(self) -> None:
        """See who may run and whose model may come, now that something has changed."""
        waiting = {str(number): queued for number, queued in enumerate(self._queue.waiting())}
        room: dict[tuple[str, int, int], bool] = {}
        queue = [self._candidate(key, queued, room) for key, queued in waiting.items()]
        decision = decide(queue, self._batch(), self._throughput.best_rows)
        for key in decision.start:
            self._queue.started(waiting[key])
            waiting[key].may_run.set()
        for key in decision.lease:
            waiting[key].state = "called"
            waiting[key].may_lease.set()
        left = [queued for queued in waiting.values() if queued.state != "running"]
        self._pool.set_lookahead([queued.request.model for queued in left if queued.state == "waiting"])
        for position, queued in enumerate(left):
            queued.report_position(position)

    def _candidate(self, key: str, queued: QueuedJob, room: dict[tuple[str, int, int], bool]) -> Candidate:
        model, reserved = queued.request.model, queued.reserved_nbytes
        wanted = (model, *reserved)
        if wanted not in room:
            room[wanted] = queued.state == "waiting" and self._pool.can_admit(model, *reserved)
        return Candidate(
            key=key,
            lane=queued.lane,
            rows=queued.rows,
            state="called" if queued.state == "called" else "ready" if queued.state == "ready" else "waiting",
            alone=queued.alone,
            overdue=self._queue.overdue(queued),
            resident=self._pool.status(model).residency == "device",
            fits=room[wanted],
        )

    def _batch(self) -> Batch | None:
        running = self._queue.running()
        if not running:
            return None
        rows = sum(queued.rows for queued in running)
        return Batch(lane=running[0].lane, rows=rows, alone=any(queued.alone for queued in running))
