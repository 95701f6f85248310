"""The dispatcher of one device: bounded queue, batches that requests join at any step, cancellation, shutdown."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from ..engine import Engine
from ..errors import DeviceLost, DiffusionError, EngineStuck, TooMuchWork, WaitedTooLong
from ..memory.lease import Lease
from ..memory.plan import Plan
from ..memory.pool import DevicePool
from ..models.assets import AssetKey, key_of
from ..models.spec import ModelName, ModelSpec
from ..requests.early_end import Ending
from ..requests.render_request import RenderRequest
from ..requests.rendering import RenderResult
from .accepted_job import AcceptedJob, JobResult
from .fair_queue import FairQueue, QueuedJob
from .job import Job, going_down, gone_away
from .lanes import Lane, steps_of
from .memory_fallbacks import Attempt, FallbackResult, MemoryFallbacks
from .policy import DispatchPolicy
from .queue_limits import refuse_if_full
from .stage import Stage, StageResult, joined_rendering, upscaling_s
from .step_meter import StepMeter
from .throughput import ThroughputModel
from .turns import Turns
from .watchdog import Watchdog

_USUAL_JOB_S = 5.0
"""Assumed seconds of a job whose model has not made an image yet."""
_LOOK_S = 1.0
"""Seconds between two looks at a device that is waited for at the end."""

Resolve = Callable[[ModelSpec], Awaitable[Sequence[Stage]]]
"""Resolves a job with the entry of its model, whose files are on disk, to its stages, and prepares its pictures; raises
InvalidRequest."""
PlanMemory = Callable[[ModelSpec, RenderRequest], Plan]
"""Plans the memory of a request; raises InsufficientMemory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """A time of a job on the device, and the wait before it."""

    lease: Lease
    outcome: FallbackResult | Attempt
    wait_s: float
    """Seconds spent waiting for its turn and for memory, here and in the turns before."""
    load_s: float

    def and_then(self, later: "_Turn") -> "_Turn":
        """Add a later turn; the model counts as found where the first turn found it."""
        lease = replace(later.lease, found=self.lease.found)
        return replace(later, lease=lease, wait_s=self.wait_s + later.wait_s, load_s=self.load_s + later.load_s)


class Dispatcher:
    """Runs jobs on one device; `batch_policy` decides which is next, and which model is loaded while the device works.

    A job waits for the files of its model, which delays no other job, then in the queue, then for its lease, then for its turn.
    Event loop only.
    """

    def __init__(
        self,
        pool: DevicePool,
        engine: Engine,
        policy: DispatchPolicy | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        plan: PlanMemory | None = None,
    ) -> None:
        """Make a dispatcher with an empty queue; `plan` replaces the memory plan that is made from the shapes of a request."""
        self._pool = pool
        self._engine = engine
        self._policy = policy = policy or DispatchPolicy()
        self._fallbacks = MemoryFallbacks(pool, engine, whole_decode_px=policy.whole_decode_px)
        self._plan = plan or self._fallbacks.plan
        self._clock = clock
        self._accepted: list[AcceptedJob] = []
        self._throughput = ThroughputModel(policy.max_rows, policy.slice_s)
        self._queue = FairQueue(policy.aging, clock, self._throughput.expected_s)
        self._turns = Turns(
            self._queue,
            pool,
            self._throughput,
            slice_s=policy.slice_s,
            clock=clock,
            is_lost=lambda: engine.failure is not None,
        )
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._watchdog = Watchdog(clock, policy.stuck_after_s)

    @property
    def depth(self) -> int:
        """Number of jobs that wait or run, including those whose files are being fetched."""
        return len(self._accepted)

    @property
    def unresponsive(self) -> DeviceLost | EngineStuck | None:
        """Error that says why the device makes no images since it has started; None while it does."""
        lost = self._engine.failure
        return lost if isinstance(lost, DeviceLost) else self._watchdog.unresponsive

    @property
    def unresponsive_because(self) -> str | None:
        """Message of `unresponsive`."""
        return None if self.unresponsive is None else self.unresponsive.message

    def waiting_by_model(self) -> Counter[ModelName]:
        """Count the jobs that wait for each model and hold no memory yet."""
        leasing = {queued.accepted for queued in self._queue.all() if queued.may_lease.is_set()}
        return Counter(accepted.job.model for accepted in self._accepted if accepted not in leasing)

    def position(self, job_id: str) -> int | None:
        """Return the number of jobs before a waiting one; None if it runs, has ended, or is not in the queue yet."""
        waiting = [queued.job.id for queued in self._queue.waiting()]
        return waiting.index(job_id) if job_id in waiting else None

    def plan(self, spec: ModelSpec, request: RenderRequest) -> Plan:
        """Plan the memory of a request: bytes, and the savings that it begins with.

        Raises:
            InsufficientMemory: it cannot fit into the budget.
        """
        return self._plan(spec, request)

    def best_rows(self, lane: Lane) -> int:
        """Return the rows of the largest batch of a lane that is worth running."""
        return self._throughput.best_rows(lane)

    def seconds(self, request: RenderRequest) -> float | None:
        """Estimate the seconds of the device that a request takes, without waiting and loading; None before its model has run."""
        return self._throughput.seconds(request)

    def expected_s(self, request: RenderRequest) -> float:
        """Estimate the same; by the size of the request alone before its model has run."""
        return self._throughput.expected_s(request)

    def charge(self) -> None:
        """Charge the running jobs for their time on the device up to now (`Job.charged_s`)."""
        self._queue.charge()

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
            resolve: makes the stages of the job, after the files of the model have been fetched.

        Raises:
            InvalidRequest: `resolve` refused it.
            InsufficientMemory: it does not fit into the budget, or the device ran out of memory with all savings.
            QueueFull, TooManyRequests: too many jobs wait, in all or of this client.
            WaitedTooLong: it did not begin to run in time.
            EngineStuck, DeviceLost: the device does not answer.
            ShuttingDown: the server is going down.
            DiffusionError: every other failure of this job; other jobs are not affected.
        """
        self.refuse_if_full(job.client)
        return await self.run_admitted(job, resolve)

    async def run_admitted(self, job: Job, resolve: Resolve, *, resolved_with: ModelSpec | None = None) -> JobResult:
        """Run a job as `run` does, without a look at the limits of the queue.

        `resolved_with` is the entry of the model by which its stages were made, if that was done before.
        """
        accepted = AcceptedJob(job=job, resolved_with=resolved_with)
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
            # The lease must be returned before the client is answered, unless the job is given up: the engine may never return.
            await asyncio.wait([accepted.outcome])
            job.state = "cancelled"
            raise

    def close(self) -> None:
        """Refuse new jobs from now on, and end those that still wait."""
        self._closing = True
        for accepted in tuple(self._accepted):
            if not accepted.job.begun:
                accepted.stop(going_down())

    async def drain(self, grace_s: float) -> None:
        """Wait for jobs that have begun; stop those that are not done after `grace_s` seconds. Call `close` first.

        A device that does not answer is waited for until the watchdog says so.
        """
        if not await self._is_idle_within(grace_s):
            self.stop_running()
        while self.unresponsive is None and not await self._is_idle_within(_LOOK_S):
            self.check_device()

    async def _is_idle_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        return self._idle.is_set()

    def stop_running(self) -> None:
        """Stop all jobs before their next step. Call `close` first."""
        for accepted in tuple(self._accepted):
            accepted.stop(going_down())

    def check_device(self) -> None:
        """End all jobs if the device is lost, or has finished no step for too long. Call it periodically."""
        lost = self._engine.failure
        # An idle device finishes no steps either: only a running job makes silence suspicious.
        failure = lost if lost is not None or not self._queue.running() else self._watchdog.check()
        if failure is not None:
            for accepted in tuple(self._accepted):
                accepted.give_up(failure)

    def refuse_if_full(self, client: str) -> None:
        """Raise the error with which `run` would refuse a job of a client now.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: as `run` does.
            EngineFailed: the engine could not start, or has lost its device.
        """
        if self._closing:
            raise going_down()
        if self._watchdog.unresponsive is not None:
            raise self._watchdog.unresponsive.with_traceback(None)
        if (failure := self._engine.failure) is not None:
            raise failure.with_traceback(None)
        clients = [accepted.job.client for accepted in self._accepted if not accepted.job.begun]
        begun = len(self._accepted) - len(clients)
        refuse_if_full(self._policy, client, clients, begun=begun, devices=1, retry_after_s=self._retry_after_s)

    def refuse_if_too_long(self, outlines: Iterable[RenderRequest]) -> bool:
        """Tell whether the seconds of the device that the runs of one request take can be estimated.

        Raises:
            TooMuchWork: they are more than one request may take.
        """
        estimates = [self._throughput.least_seconds(outline) for outline in outlines]
        known = [seconds for seconds in estimates if seconds is not None]
        limit_s = self._policy.max_request_s
        if limit_s is not None and sum(known) > limit_s:
            raise TooMuchWork(sum(known), limit_s)
        return len(known) == len(estimates)

    async def _serve(self, accepted: AcceptedJob, resolve: Resolve) -> JobResult:
        """Wait for the engine, fetch, resolve, plan all stages, run one after the other."""
        job, arrived = accepted.job, self._clock()
        await self._engine.start()
        begun = self._clock()
        # The files hold the model's defaults, so a request is resolved after the fetch: equal bodies make equal requests.
        spec = await self._pool.fetch(job.model, job.on_load)
        stages = await resolve(spec)
        accepted.resolved_with = accepted.resolved_with or spec
        # Before the first stage begins, so that no work is done for a request that cannot be finished.
        plans = [await self._planned(spec, stage.outline) for stage in stages]
        if not self.refuse_if_too_long([stage.outline for stage in stages]):
            accepted.must_end_after_s = self._policy.max_request_s
        fetched_s = self._clock() - begun
        results = await self._stages(accepted, stages, plans)
        return JobResult(
            rendered=joined_rendering(results),
            savings=tuple(dict.fromkeys(saving for result in results for saving in result.savings)),
            spec=results[0].spec,
            request=results[-1].request,
            found=results[0].found,
            start_s=begun - arrived,
            queue_s=sum(result.queue_s for result in results),
            load_s=fetched_s + sum(result.load_s for result in results),
            upscale_s=upscaling_s(results),
        )

    async def _planned(self, spec: ModelSpec, outline: RenderRequest) -> Plan:
        if outline.model != spec.name:
            spec = await self._pool.fetch(outline.model)
        return self._plan(spec, outline)

    async def _stages(self, accepted: AcceptedJob, stages: Sequence[Stage], plans: Sequence[Plan]) -> list[StageResult]:
        results: list[StageResult] = []
        queued: QueuedJob | None = None
        expected = [steps_of(stage.outline) for stage in stages]
        for index, (stage, plan) in enumerate(zip(stages, plans, strict=True)):
            # Between two stages nothing of the engine runs for the job, so its task may be cancelled.
            accepted.running = False
            accepted.job.check()
            accepted.job.enter_stage(steps_after=sum(expected[index + 1 :]))
            before = results[-1].rendered if results else None
            queued = self._enter(accepted, stage, before, plan, after=queued)
            results.append(await self._served(queued))
        return results

    async def _served(self, queued: QueuedJob) -> StageResult:
        """Wait for turns until a stage has run to its end."""
        try:
            with queued.accepted.must_begin_within(self._policy.max_wait_s, self._waited_too_long):
                turn = await self._turn(queued)
                while isinstance(turn.outcome, Attempt):
                    queued.attempt = turn.outcome
                    # A decoding ends no earlier, so the job may have been stopped; then it needs no other turn.
                    queued.job.check()
                    self._queue.gave_way(queued)
                    turn = turn.and_then(await self._turn(queued))
        finally:
            self._queue.leave(queued)
        return StageResult(
            request=queued.request,
            rendered=replace(turn.outcome.rendered, warnings=(*queued.warnings, *turn.outcome.rendered.warnings)),
            savings=turn.outcome.savings,
            spec=turn.lease.spec,
            found=turn.lease.found,
            queue_s=turn.wait_s,
            load_s=turn.load_s,
        )

    async def _turn(self, queued: QueuedJob) -> _Turn:
        """Wait for a job's turn, and run it to its end or until it gives way to others."""
        begun = self._clock()
        while True:
            self._turns.update()
            await queued.may_lease.wait()
            queued.turn = asyncio.create_task(self._lease_and_run(queued, begun))
            try:
                return await queued.turn
            except asyncio.CancelledError:
                # Either this job is stopped, or only its claim was revoked, and it waits again.
                if not queued.revoked or _is_cancelled():
                    raise
                queued.wait_again()

    async def _lease_and_run(self, queued: QueuedJob, begun: float) -> _Turn:
        if not self._is_on_device(queued.request):
            await queued.job.begin_load()
        asked = self._clock()
        needed, together = queued.reserved_nbytes
        async with self._pool.lease(
            queued.request.model,
            needed,
            queued.job.on_load,
            together_nbytes=together,
            beside=queued.request.assets.beside,
            on_claimed=queued.note_claimed,
        ) as lease:
            await queued.complete_request()
            queued.leased, leased = True, self._clock()
            queued.request = replace(queued.request, assets=lease.leased(queued.request.assets))
            queued.take_versions(lease.versions)
            self._turns.update()
            await queued.may_run.wait()
            waited = asked - begun + lease.wait_s + self._clock() - leased
            outcome = await self._run(queued, lease)
        return _Turn(lease=lease, outcome=outcome, wait_s=waited, load_s=lease.load_s)

    def _enter(
        self,
        accepted: AcceptedJob,
        stage: Stage,
        before: RenderResult | None,
        plan: Plan,
        *,
        after: QueuedJob | None,
    ) -> QueuedJob:
        queued = QueuedJob(
            accepted=accepted,
            request=stage.outline,
            complete=partial(stage.complete, before),
            plan=plan,
            waiting_since_s=self._clock(),
            meter=StepMeter(self._clock),
            versions=_resolved_versions(accepted.resolved_with, stage.outline),
        )
        queued.attempt = Attempt.of(plan, self._throughput.images_at_once(stage.outline, plan))
        if after is None:
            accepted.job.state = "queued"
        self._queue.enter(queued, after=after)
        return queued

    async def _run(self, queued: QueuedJob, lease: Lease) -> FallbackResult | Attempt:
        job, accepted, begun = queued.job, queued.accepted, self._clock()
        job.check()
        self._watchdog.heartbeat()
        queued.meter.begin_turn()

        def on_step(done: int, total: int) -> Ending | None:
            self._watchdog.heartbeat()
            queued.meter.report(done, total)
            accepted.stop_if_too_long(self._clock() - begun)
            return job.on_step(done, total)

        try:
            outcome = await self._fallbacks.run(
                lease,
                queued.request,
                on_step,
                attempt=queued.attempt,
                check=job.check,
                on_preview=job.on_preview if job.previews else None,
                give_way=job.give_way.is_set,
            )
        finally:
            # No step follows the last part of a decoding, or a forward that fails.
            self._watchdog.heartbeat()
        accepted.device_s += self._clock() - begun
        if isinstance(outcome, FallbackResult) and not outcome.rendered.unfinished:
            self._throughput.note(queued.request, outcome.rendered)
        return outcome

    def _is_on_device(self, request: RenderRequest) -> bool:
        assets = (AssetKey("model", request.model), *request.assets.beside)
        return all(self._pool.asset_status(key).residency == "device" for key in assets)

    def _ended(self, accepted: AcceptedJob) -> None:
        self._accepted.remove(accepted)
        accepted.publish_outcome()
        if self._engine.failure is not None:
            self.check_device()
        if not self._accepted:
            self._idle.set()
        self._turns.update()

    def _seconds_of(self, queued: QueuedJob | None) -> float | None:
        return self._throughput.seconds(queued.request) if queued is not None else None

    def _waited_too_long(self) -> WaitedTooLong:
        return WaitedTooLong(self._policy.max_wait_s or 0.0, retry_after_s=self._retry_after_s())

    def _retry_after_s(self) -> int:
        """Estimate the seconds after which a refused client should try again."""
        return max(1, round(self.wait_s()))


def _resolved_versions(spec: ModelSpec | None, outline: RenderRequest) -> dict[AssetKey, str]:
    """Return the versions of the assets that a request was resolved with; a stage of another model is resolved with none."""
    own = {key_of(spec): spec.version} if spec is not None and spec.name == outline.model else {}
    return own | outline.assets.versions_beside


def _is_cancelled() -> bool:
    """Tell whether the present task itself is being cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
