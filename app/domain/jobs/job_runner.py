"""Runs jobs from their acceptance, or from where an ended process has left them, to their end."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from ..errors import Cancelled, DiffusionError, EngineFailed, ShuttingDown, StorageUnavailable
from ..generator import Generated
from ..requests.parameters import GenerationParameters
from ..requests.seed import random_seed
from ..uncancellable import consume_exception
from .in_flight import InFlight
from .keeping.expiry import Expiry
from .keeping.repository import JobRepository
from .record import JobRecord
from .rendering import Rendering
from .tracked_job import Outcome, TrackedJob

_T = TypeVar("_T")

_TRY_AGAIN_S = 1.0
"""Seconds between two attempts to keep an outcome."""
_CLOSING_S = 5.0
"""Seconds in which jobs that have ended must be kept when the process ends."""


class JobRunner:
    """Gives each job a task, in which it is kept, rendered, finished and announced. Event loop only."""

    def __init__(
        self,
        rendering: Rendering,
        repository: JobRepository,
        in_flight: InFlight,
        expiry: Expiry,
        *,
        now: Callable[[], float],
        on_ended: Callable[[TrackedJob], None],
    ) -> None:
        """Run nothing yet.

        Args:
            rendering: makes the images.
            repository: keeps the jobs.
            in_flight: receives the jobs that run, and loses those that have ended.
            expiry: is told when a job ends.
            now: clock, in seconds since the epoch.
            on_ended: receives every job that has ended; must return at once.
        """
        self._rendering = rendering
        self._repository = repository
        self._in_flight = in_flight
        self._expiry = expiry
        self._now = now
        self._on_ended = on_ended
        self._tasks = set[asyncio.Task[Any]]()
        """Jobs from their acceptance until what becomes of them is kept."""

    def begin(self, job: TrackedJob, parameters: GenerationParameters) -> None:
        """Begin a new job; its `accepted` is set once it is kept, or cannot be."""
        self._start(job, parameters, new=True)

    def adopt(self, record: JobRecord, parameters: GenerationParameters) -> None:
        """Begin a job again that this process has claimed."""
        job = TrackedJob.restored(record, continues=True)
        if record.restarts:
            job.log.add("restarted", restarts=record.restarts)
        self._start(job, parameters, new=False)

    async def end_unbegun(self, record: JobRecord, error: DiffusionError) -> None:
        """End a job that this process has claimed, without beginning it."""
        job = TrackedJob.restored(record, continues=True)
        ending = job.ending(error, self._now())
        if await self._repository.finish(ending, None):
            job.end(error, ending)
            self._on_ended(job)

    def stop(self, job_id: str) -> None:
        """End a job before its next step, if this process has it."""
        if (job := self._in_flight.get(job_id)) is not None:
            job.stop()

    async def close(self) -> None:
        """Let jobs that have ended be kept, and end the tasks of the others, which the generator has stopped before."""
        working = list(self._tasks)
        if working:
            await asyncio.wait(working, timeout=_CLOSING_S)
        for work in working:
            work.cancel()
        if working:
            await asyncio.wait(working)

    def _start(self, job: TrackedJob, parameters: GenerationParameters, *, new: bool) -> None:
        self._in_flight.add(job)
        job.work = self._task(self._live(job, parameters, new=new), f"tracked job {job.id}")

    def _task(self, work: Coroutine[Any, Any, _T], name: str) -> "asyncio.Task[_T]":
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(consume_exception)
        return task

    async def _live(self, job: TrackedJob, parameters: GenerationParameters, *, new: bool) -> Generated:
        """Keep a job, render it, keep its outcome, tell the listeners: in this order."""
        if new and job.kept:
            parameters = self._with_seed(parameters)
            await self._keep(job, parameters)
        job.accepted.set()
        outcome = await self._rendering.run(job, parameters)
        if job.abandoned and isinstance(outcome, Cancelled):
            outcome = Cancelled("The client that waited for the job has left.", abandoned=True)
        if await self._goes_on_later(job, outcome):
            await self._give_back(job)
        else:
            await self._settle(job, outcome)
        if isinstance(outcome, DiffusionError):
            del parameters  # the error keeps this frame, and the frame the pictures
            raise outcome
        return outcome

    def _with_seed(self, parameters: GenerationParameters) -> GenerationParameters:
        """Draw the seed of a job that may be begun twice, so that it makes the same image then."""
        if not self._repository.durable or parameters.seed not in (None, -1):
            return parameters
        return msgspec.structs.replace(parameters, seed=random_seed())

    async def _keep(self, job: TrackedJob, parameters: GenerationParameters) -> None:
        try:
            await self._repository.add(job.record(), parameters)
        except DiffusionError as error:
            job.refused = error
            self._in_flight.drop(job.id)
            job.accepted.set()
            raise

    async def _goes_on_later(self, job: TrackedJob, outcome: Outcome) -> bool:
        """Tell whether a job was promised, and has ended only because this process ends, has no engine, or lost its clients."""
        stopped_here = isinstance(outcome, (ShuttingDown, EngineFailed)) and not job.stopping
        left_here = isinstance(outcome, Cancelled) and job.abandoned
        if not (stopped_here or left_here) or not job.kept or not self._repository.durable:
            return False
        return job.detached or await self._promised_elsewhere(job)

    async def _promised_elsewhere(self, job: TrackedJob) -> bool:
        """Tell whether a request that came to another process has joined a job, and was promised its end."""
        try:
            record = await self._repository.get(job.id)
        except StorageUnavailable:
            return False
        return record is not None and record.detached

    async def _give_back(self, job: TrackedJob) -> None:
        self._in_flight.drop(job.id)
        while True:
            try:
                await self._repository.release([job.id])
                break
            except StorageUnavailable:  # no process would ever take it: this one lives, and has it
                await asyncio.sleep(_TRY_AGAIN_S)
        job.log.close()

    async def _settle(self, job: TrackedJob, outcome: Outcome) -> None:
        record = job.ending(outcome, self._now())
        try:
            ours = not job.kept or await self._finished(job, record, outcome)
        except StorageUnavailable:  # its client waits, and gets the answer now
            self._end(job, outcome, record)
            self._task(self._finish_later(job, record, outcome), f"keep the outcome of job {job.id}")
            return
        if ours:
            self._end(job, outcome, record)
        else:  # another process has taken it over, because this one was silent for too long
            job.log.close()
        if job.kept or (isinstance(outcome, DiffusionError) and not job.waiters):
            self._in_flight.drop(job.id)
        if job.kept:
            await self._expiry.expire(at_once=True)

    def _end(self, job: TrackedJob, outcome: Outcome, record: JobRecord) -> None:
        job.end(outcome, record)
        self._on_ended(job)

    async def _finished(self, job: TrackedJob, record: JobRecord, outcome: Outcome) -> bool:
        """Keep the outcome of a job. If nothing can be written, and no client waits, wait until it can: the job was accepted.

        Returns:
            Whether the job still belonged to this process.

        Raises:
            StorageUnavailable: nothing can be written now, and a client waits for the outcome.
        """
        while True:
            try:
                return await self._repository.finish(record, _images_of(outcome))
            except StorageUnavailable:
                if not job.detached:
                    raise
            await asyncio.sleep(_TRY_AGAIN_S)

    async def _finish_later(self, job: TrackedJob, record: JobRecord, outcome: Outcome) -> None:
        """Keep the outcome of a job that has ended once something can be written; until then it is found in flight."""
        while True:
            await asyncio.sleep(_TRY_AGAIN_S)
            with suppress(StorageUnavailable):
                await self._repository.finish(record, _images_of(outcome))
                break
        self._in_flight.drop(job.id)
        await self._expiry.expire(at_once=True)


def _images_of(outcome: Outcome) -> Generated | None:
    return None if isinstance(outcome, DiffusionError) else outcome
