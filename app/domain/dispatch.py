"""The dispatcher: a bounded queue before each device, first come first served, with cancellation and a clean end."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from .books import Found
from .errors import DiffusionError, QueueFull
from .generation import GenerationRequest
from .jobs import Job, going_down, gone_away
from .ladder import Ladder, Plan, Rung
from .model import ModelName, ModelSpec
from .pool import ModelPool
from .ports import LAVISH, Engine, Frugality, Rendered

_T = TypeVar("_T")
_USUAL_JOB_S = 5.0
"""Assumed length of a job until the first one has been timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A job that ran: what came out, where its model was found, what it waited for."""

    rendered: Rendered
    savings: tuple[Rung, ...]
    """Which rungs of the ladder saved memory."""
    model_version: str
    found: Found
    queue_s: float
    load_s: float


class Dispatcher:
    """Runs jobs on one device, one at a time, in the order in which their models became ready.

    A job first gets its model (loading does not occupy the device, so requests for a hot model pass one that still
    downloads) and then waits for its turn.
    """

    def __init__(
        self, pool: ModelPool, engine: Engine, *, max_waiting: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pool = pool
        self._ladder = Ladder(pool, engine)
        self._max_waiting = max_waiting
        self._clock = clock
        self._turn = asyncio.Lock()  # asyncio.Lock is fair: first come, first served
        self._jobs: dict[str, Job] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._recent_s: deque[float] = deque(maxlen=16)

    @property
    def depth(self) -> int:
        """Jobs that wait or run."""
        return len(self._jobs)

    def depth_of(self, model: ModelName) -> int:
        """Jobs of one model that wait or run."""
        return sum(job.model == model for job in self._jobs.values())

    def position(self, job_id: str) -> int | None:
        """How many jobs are before a waiting one; None once it runs or has ended."""
        waiting = [job.id for job in self._jobs.values() if job.state == "waiting"]
        return waiting.index(job_id) if job_id in waiting else None

    def plan(self, spec: ModelSpec, request: GenerationRequest) -> Plan:
        """How much memory a request takes, and what it saves from the start.

        Raises:
            InsufficientMemory: it cannot fit into the budget.
        """
        return self._ladder.plan(spec, request)

    async def run(
        self, job: Job, request: GenerationRequest, activation_nbytes: int, frugality: Frugality = LAVISH
    ) -> Ran:
        """Run a request and wait for it. When the waiting task is cancelled, the job stops before its next step.

        Args:
            job: what its progress is noted in.
            request: what to make.
            activation_nbytes: bytes beside the weights that its lease reserves.
            frugality: what it saves from the start; where the device runs out of memory, it saves more.

        Raises:
            InsufficientMemory: the device ran out of memory whatever was saved.
            QueueFull: too many jobs wait already.
            ShuttingDown: the server is going down.
            DiffusionError: whatever went wrong with this job, and with no other.
        """
        self._admit(job)
        try:
            ran = await self._run(job, request, activation_nbytes, frugality)
            job.state = "finished"
            return ran
        except DiffusionError:
            job.state = "failed"
            raise
        except BaseException:
            job.state = "cancelled"
            raise
        finally:
            del self._jobs[job.id]
            if not self._jobs:
                self._idle.set()

    def close(self) -> None:
        """Refuse new jobs from now on, and end those that still wait."""
        self._closing = True
        for job in self._jobs.values():
            if job.state == "waiting":
                job.stop(going_down())

    async def drain(self, grace_s: float) -> None:
        """Wait for running jobs; stop those that are not done after `grace_s` seconds. Call `close` first."""
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except TimeoutError:
            for job in self._jobs.values():
                job.stop(going_down())
            await self._idle.wait()

    def _admit(self, job: Job) -> None:
        if self._closing:
            raise going_down()
        if len(self._jobs) > self._max_waiting:
            raise QueueFull(len(self._jobs), retry_after_s=self._expected_wait_s())
        self._jobs[job.id] = job
        self._idle.clear()

    def _expected_wait_s(self) -> int:
        mean = sum(self._recent_s) / len(self._recent_s) if self._recent_s else _USUAL_JOB_S
        return max(1, round(mean * len(self._jobs)))

    async def _run(self, job: Job, request: GenerationRequest, activation_nbytes: int, frugality: Frugality) -> Ran:
        async with self._pool.lease(request.model, activation_nbytes, job.on_load) as lease:
            begun = self._clock()
            async with self._turn:
                job.check()
                started = self._clock()
                job.state = "running"
                work = self._ladder.run(lease, request, job.on_step, begin=frugality, check=job.check)
                climbed = await _until_stopped(work, job)
                self._recent_s.append(self._clock() - started)
            return Ran(
                rendered=climbed.rendered,
                savings=climbed.savings,
                model_version=lease.spec.version,
                found=lease.found,
                queue_s=lease.wait_s + started - begun,
                load_s=lease.load_s,
            )


async def _until_stopped(work: Coroutine[Any, Any, _T], job: Job) -> _T:
    """Await engine work that must not be abandoned: when this task is cancelled, stop the job, wait, then give up.

    The lease may end only once the engine thread has let go of the model.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        job.stop(gone_away())
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise
