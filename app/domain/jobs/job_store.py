"""The store of jobs: starts them, joins requests with the same idempotency key, finds finished ones in the repository."""

import asyncio
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from ..clock import steady_time
from ..errors import (
    Cancelled,
    DiffusionError,
    EngineFailed,
    ExpiredJob,
    IdempotencyConflict,
    KeyTaken,
    QueueFull,
    ShuttingDown,
    StorageUnavailable,
    TooManyRequests,
    UnknownJob,
)
from ..generator import Generated, ImageGenerator
from ..models.spec import ModelName
from ..requests.early_end import Ending
from ..requests.parameters import GenerationParameters
from ..requests.progress import Preview, Progress
from ..requests.rendering import ImageWriter
from ..requests.seed import random_seed
from ..uncancellable import consume_exception
from .event_log import JobEvent
from .journal import Journal
from .memory_repository import MemoryJobRepository
from .noted_load import load_noted
from .previews import Previews
from .record import JobQuery, JobRecord
from .repository import JobRepository
from .retention import Retention, to_drop
from .tracked_job import Outcome, TrackedJob, outcome_of

_SOONEST_S = 0.01
"""Shortest time until the next expiry, in seconds, because the clocks of jobs and of timers may differ a little."""
_LOOK_AGAIN_S = 0.5
"""Seconds between two looks at a job that runs in another process."""
_TRY_AGAIN_S = 1.0
"""Seconds between two attempts to keep a job, or to begin one that was accepted before a restart."""
_MOST_PLACES = 1000
"""Jobs that are taken over if there is no limit."""
_CLOSING_S = 5.0
"""Seconds in which jobs that have ended must be kept when the process ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """Limits of unfinished and of finished jobs."""

    max_unfinished: int | None = None
    """Unfinished jobs before the next one is refused; None for no limit. The dispatcher does not count a job before its model was
    looked up, so its own limit is not enough."""
    retention: Retention = field(default_factory=Retention)
    """Which finished jobs are kept."""


Join = Literal["always", "in_flight", "never"]
"""Jobs of the same key that a request joins: all that are kept; those whose outcome has reached no client; none.

Only `always` has a job kept after its outcome has reached the client that waits for it."""


def _digest(model: ModelName, parameters: GenerationParameters) -> bytes:
    """Compute a digest of a request, so that pictures of megabytes are not kept."""
    return hashlib.sha256(msgspec.json.encode((model, parameters))).digest()  # msgpack fails on integers beyond 64 bits


class JobStore:
    """All jobs that clients can look up: those that this process runs, and those that the repository keeps. Event loop only."""

    def __init__(
        self,
        generator: ImageGenerator,
        writer: ImageWriter,
        policy: JobPolicy | None = None,
        repository: JobRepository | None = None,
        *,
        now: Callable[[], float] = steady_time,
        on_ended: Callable[[TrackedJob], None] = lambda _job: None,
    ) -> None:
        """Make a store without jobs.

        Args:
            generator: makes the images.
            writer: encodes previews.
            policy: limits of unfinished and of finished jobs.
            repository: keeps the jobs; in memory if absent.
            now: clock, in seconds since the epoch, which does not jump.
            on_ended: receives every job that has ended; must return at once.
        """
        self._generator = generator
        self._writer = writer
        self._policy = policy or JobPolicy()
        self._repository: JobRepository = repository or MemoryJobRepository()
        self._journal = Journal(self._repository)
        self._now = now
        self._on_ended = on_ended
        self._expiry: asyncio.TimerHandle | None = None
        self._expired_at = 0.0
        self._jobs: OrderedDict[str, TrackedJob] = OrderedDict()
        """Those that this process has, and those that are not kept."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def repository(self) -> JobRepository:
        """Where jobs are kept."""
        return self._repository

    @property
    def in_flight(self) -> list[TrackedJob]:
        """Jobs that this process runs, and those whose outcome waits for its client."""
        return list(self._jobs.values())

    @property
    def places(self) -> int:
        """Jobs that may be taken over from other processes now; none while this one refuses new ones."""
        try:
            self._generator.refuse_if_full("")
        except DiffusionError:
            return 0
        limit = self._policy.max_unfinished
        return _MOST_PLACES if limit is None else max(0, limit - self._unfinished())

    async def open(self) -> None:
        """Open the repository.

        Raises:
            StorageUnavailable: it cannot be opened.
        """
        await self._repository.open()
        if self._repository.durable:
            self._in_background(self._journal.run())

    async def close(self) -> None:
        """Give unfinished jobs back to the repository, and close it. The generator has refused or stopped them before."""
        working = [job.work for job in self._jobs.values() if not job.work.done()]
        if working:
            await asyncio.wait(working, timeout=_CLOSING_S)
        for task in [*working, *self._tasks]:
            task.cancel()
        if ending := [*working, *self._tasks]:
            await asyncio.wait(ending)
        if self._expiry is not None:
            self._expiry.cancel()
        await self._repository.close()

    async def post(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        client: str = "",
        key: str | None = None,
        join: Join = "always",
        detached: bool = True,
        admit: Callable[[], None] = lambda: None,
        callback_url: str | None = None,
    ) -> TrackedJob:
        """Start a job, or join the one that was started with the same key.

        Args:
            model: name of a catalogue entry, or an alias; the job has the entry's own name.
            parameters: what to make.
            client: name of the sender; each client has its own keys.
            key: idempotency key; the same key and body join the same job, unless that has failed or was cancelled.
            join: which jobs of the same key are joined.
            detached: whether it continues without a waiting client.
            admit: called before a job is started, not before one is joined; it may refuse by an error.
            callback_url: is told of its end.

        Raises:
            UnknownModel, UnusableModel, InvalidRequest: no job was started.
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck, StorageUnavailable: no job was started.
            IdempotencyConflict: the key was sent before with another model or body.
        """
        await self._expire()
        # An alias and the name that it stands for are the same request.
        body = b"" if key is None else _digest(await self._generator.model_of(model), parameters)
        kept = join == "always"
        if (known := await self._known(client, key, body, join)) is not None:
            return await self._joined(known, parameters, detached=detached, kept=kept)
        name = await self._generator.check(model, parameters)
        # Looked up again, because another request with the same key may have started a job during the check.
        if (known := await self._known(client, key, body, join)) is not None:
            return await self._joined(known, parameters, detached=detached, kept=kept)
        self._refuse_if_full(client)
        admit()
        job = TrackedJob(
            id=uuid.uuid4().hex,
            model=name,
            client=client,
            key=key,
            body=body,
            created=round(self._now(), 6),  # as precise as it is shown, and filtered by
            prompt=parameters.prompt,
            detached=detached,
            kept=kept,
            callback_url=callback_url,
        )
        try:
            await self._begin(job, parameters, new=True)
        except KeyTaken:  # by another process that shares the repository
            known = await self._known(client, key, body, join)
            if known is None:
                raise
            return await self._joined(known, parameters, detached=detached, kept=kept)
        return job

    async def run(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        client: str = "",
        key: str | None = None,
        join: Join = "always",
        linger_s: float = 0,
        admit: Callable[[], None] = lambda: None,
    ) -> Generated:
        """Start a job, or join the one of the same key, and wait for it; it ends if its last waiter is cancelled.

        Raises:
            DiffusionError: as `post` and the job do.
        """
        # `post` returns and `result` counts the waiter without a suspension between them: otherwise the last waiter of a joined
        # job could be cancelled in between, and end the job that was joined.
        job = await self.post(model, parameters, client=client, key=key, join=join, detached=False, admit=admit)
        return await self.result(job, linger_s)

    async def get(self, job_id: str, owner: str | None = None, *, with_result: bool = False) -> TrackedJob:
        """Return the job with this id.

        Args:
            job_id: of the job.
            owner: the only client whose jobs are found; None for those of all.
            with_result: whether to read its images.

        Raises:
            ExpiredJob: it is no longer kept.
            UnknownJob: no job had this id, or it belongs to another client.
        """
        await self._expire()
        job = self._jobs.get(job_id) or await self._kept(job_id, owner)
        if owner not in (None, job.client):
            raise UnknownJob(job_id)
        if with_result and job.state == "done" and job.result is None:
            job.result = await self._repository.result(job_id)
            if job.result is None:  # its files were removed
                raise ExpiredJob(job_id)
        return job

    async def _kept(self, job_id: str, owner: str | None) -> TrackedJob:
        record = await self._repository.get(job_id)
        if record is None or owner not in (None, record.client):
            raise UnknownJob(job_id)
        if record.expired:
            raise ExpiredJob(job_id)
        # It may have been claimed while it was read.
        return self._jobs.get(job_id) or TrackedJob.restored(record)

    async def page(self, query: JobQuery) -> list[TrackedJob]:
        """List jobs, the newest first: those that are kept, and those in flight that will not be."""
        await self._expire()
        records = await self._repository.page(query)
        jobs = [self._jobs.get(record.id) or TrackedJob.restored(record) for record in records]
        known = {job.id for job in jobs}
        jobs += [
            job for job in self._jobs.values() if job.id not in known and not job.kept and query.matches(job.record())
        ]
        jobs.sort(key=lambda job: (job.created, job.id), reverse=True)
        return jobs[: query.limit]

    async def follow(
        self, job: TrackedJob, after_id: int = 0, *, idle_s: float | None = None
    ) -> AsyncGenerator[JobEvent | None]:
        """Yield the events of a job as `EventLog.follow` does, also if it runs in another process."""
        elsewhere = job.id not in self._jobs and not job.over
        watch = asyncio.create_task(self._watch(job)) if elsewhere else None
        try:
            async with aclosing(job.log.follow(after_id, idle_s=idle_s)) as events:
                async for event in events:
                    yield event
        finally:
            if watch is not None:
                watch.cancel()

    async def _watch(self, job: TrackedJob) -> None:
        """Take over what another process notes of a job, until its end."""
        while not job.over:
            await asyncio.sleep(_LOOK_AGAIN_S)
            try:
                record = await self._repository.get(job.id)
            except StorageUnavailable:
                continue
            if record is None or record.expired:
                job.log.close()
                raise ExpiredJob(job.id)
            job.take_over(record)

    async def cancel(self, job_id: str, owner: str | None = None) -> TrackedJob:
        """End a job before its next step, and wait for its end; remove one that has ended.

        Raises:
            ExpiredJob, UnknownJob: as `get` does.
        """
        job = await self.get(job_id, owner)
        if job.over:
            self._jobs.pop(job_id, None)
            await self._repository.forget(job_id)
        elif job_id in self._jobs:
            self.stop(job)
            await asyncio.wait([job.work])
        else:
            await self._repository.request_cancel(job_id)
            await self._watch(job)
        return job

    def end_early(self, job: TrackedJob, ending: Ending) -> None:
        """Have a running job end with what is denoised so far; one that does not run yet has nothing, and is stopped."""
        if job.state == "running":
            job.early_end.ask(ending)
        elif not job.over:
            self.stop(job)

    def stop(self, job: TrackedJob) -> None:
        """End a job of this process before its next step, without waiting for that."""
        # A request that sends its key from now on starts a new job, instead of joining one that is being cancelled.
        job.stopping = True
        if job.rendering is not None:
            job.rendering.cancel()

    def stop_by_id(self, job_id: str) -> None:
        """End a job before its next step, if this process has it."""
        if (job := self._jobs.get(job_id)) is not None:
            self.stop(job)

    async def result(self, job: TrackedJob, linger_s: float = 0) -> Generated:
        """Wait for a job. If its last waiter is cancelled, a job that is not detached ends before its next step.

        Args:
            job: to wait for.
            linger_s: seconds that it continues for a client that comes back.

        Raises:
            DiffusionError: as the job did.
        """
        return await self.waiting(job, linger_s)

    def waiting(self, job: TrackedJob, linger_s: float = 0) -> "asyncio.Task[Generated]":
        """Begin to wait as `result` does: the waiter counts from now on, and not from the next turn of the event loop."""
        job.waiters += 1
        waiting = asyncio.ensure_future(_outcome(job))
        waiting.add_done_callback(consume_exception)
        waiting.add_done_callback(lambda _: self._left(job, linger_s, delivered=not waiting.cancelled()))
        return waiting

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

    def _left(self, job: TrackedJob, linger_s: float, *, delivered: bool) -> None:
        """Note that a waiter has gone, with the outcome or without."""
        job.waiters -= 1
        if delivered and not job.kept:
            self._jobs.pop(job.id, None)
        elif linger_s and not job.over:
            asyncio.get_running_loop().call_later(linger_s, self._stop_unless_wanted, job)
        else:
            self._stop_unless_wanted(job)

    def _stop_unless_wanted(self, job: TrackedJob) -> None:
        if not job.waiters and not job.detached and not job.over:
            self.stop(job)

    def _unfinished(self) -> int:
        return sum(not job.over for job in self._jobs.values())

    def _refuse_if_full(self, client: str) -> None:
        self._generator.refuse_if_full(client)
        unfinished = self._unfinished()
        if self._policy.max_unfinished is not None and unfinished >= self._policy.max_unfinished:
            raise QueueFull(
                unfinished,
                retry_after_s=unfinished,
                state="unfinished",
                setting="limits.max_waiting + dispatch.max_rows",
            )

    async def _begin(self, job: TrackedJob, parameters: GenerationParameters, *, new: bool) -> None:
        """Start a job, and wait until it is kept."""
        self._start(job, parameters, new=new)
        await self._accepted(job)

    async def _accepted(self, job: TrackedJob) -> None:
        """Wait until a job is kept; the one who waits counts as a waiter, so that no other one ends it by leaving.

        Raises:
            StorageUnavailable, KeyTaken: it could not be kept.
        """
        job.waiters += 1
        try:
            await job.accepted.wait()
        except asyncio.CancelledError:
            job.waiters -= 1
            self._stop_unless_wanted(job)
            raise
        job.waiters -= 1
        if job.refused is not None:
            raise job.refused.with_traceback(None)

    def _start(self, job: TrackedJob, parameters: GenerationParameters, *, new: bool) -> None:
        self._jobs[job.id] = job
        job.work = asyncio.create_task(self._live(job, parameters, new=new), name=f"tracked job {job.id}")
        job.work.add_done_callback(consume_exception)

    async def _live(self, job: TrackedJob, parameters: GenerationParameters, *, new: bool) -> Generated:
        """Keep a job, render it, keep its outcome, tell the listeners: in this order."""
        if new and job.kept:
            parameters = self._with_seed(parameters)
            await self._keep(job, parameters)
        job.accepted.set()
        outcome = await self._rendered(job, parameters)
        if self._goes_on_later(job, outcome):
            await self._give_back(job)
        else:
            await self._settle(job, outcome)
        if isinstance(outcome, DiffusionError):
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
            self._jobs.pop(job.id, None)
            job.accepted.set()
            raise

    async def _rendered(self, job: TrackedJob, parameters: GenerationParameters) -> Outcome:
        while True:
            job.rendering = asyncio.create_task(self._render(job, parameters), name=f"render {job.id}")
            if job.stopping:
                job.rendering.cancel()
            await asyncio.wait([job.rendering])
            outcome = outcome_of(job.rendering)
            # The queue may be full of other jobs that were accepted before the restart.
            if not isinstance(outcome, (QueueFull, TooManyRequests)) or not (job.kept and self._repository.durable):
                return outcome
            await asyncio.sleep(_TRY_AGAIN_S)

    async def _render(self, job: TrackedJob, parameters: GenerationParameters) -> Generated:
        loop, previews = asyncio.get_running_loop(), Previews(job, self._writer)

        def note(progress: Progress) -> None:
            if isinstance(progress, Preview):
                previews.show(progress)
            else:
                self._note(job, progress)

        def tell(progress: Progress) -> None:
            loop.call_soon_threadsafe(note, progress)

        return await self._generator.generate(
            job.model,
            parameters,
            job_id=job.id,
            client=job.client,
            on_progress=tell,
            previews=parameters.previews,
            early_end=job.early_end,
            before_load=load_noted(job, self._repository),
        )

    def _note(self, job: TrackedJob, progress: Progress) -> None:
        before = job.state
        job.note(progress, self._now())
        if job.kept and self._repository.durable:
            self._journal.note(job, at_once=job.state != before)

    def _goes_on_later(self, job: TrackedJob, outcome: Outcome) -> bool:
        """Tell whether a job has ended only because this process ends, or has no engine."""
        promised = job.kept and job.detached and self._repository.durable and not job.stopping
        return promised and isinstance(outcome, (ShuttingDown, EngineFailed))

    async def _give_back(self, job: TrackedJob) -> None:
        self._jobs.pop(job.id, None)
        await self._repository.release([job.id])
        job.log.close()

    async def _settle(self, job: TrackedJob, outcome: Outcome) -> None:
        record = job.ending(outcome, self._now())
        ours = not job.kept or await self._finished(job, record, outcome)
        if ours:
            job.end(outcome, record)
            self._on_ended(job)
        else:  # another process has taken it over, because this one was silent for too long
            job.log.close()
        if job.kept or (isinstance(outcome, DiffusionError) and not job.waiters):
            self._jobs.pop(job.id, None)
        if job.kept:
            await self._expire(at_once=True)

    async def _finished(self, job: TrackedJob, record: JobRecord, outcome: Outcome) -> bool:
        """Keep the outcome of a job. If the disk is full, wait until it is not: the job was accepted."""
        while True:
            try:
                return await self._repository.finish(record, None if isinstance(outcome, DiffusionError) else outcome)
            except StorageUnavailable:
                if not job.detached:  # its client waits, and gets the answer
                    return True
            await asyncio.sleep(_TRY_AGAIN_S)

    async def _known(self, client: str, key: str | None, body: bytes, join: Join) -> TrackedJob | None:
        """Return the job of a key."""
        if key is None or join == "never":
            return None
        record = await self._repository.with_key(client, key)
        job = next((job for job in self._jobs.values() if (job.client, job.key) == (client, key)), None)
        if job is not None and job.stopping:
            job.key = None
            await self._repository.drop_key(job.id)
            return await self._known(client, key, body, join)
        if job is None and record is not None:
            job = await self._with_outcome(record)
        if job is not None and job.body != body:
            raise IdempotencyConflict(key)
        return job

    async def _with_outcome(self, record: JobRecord) -> TrackedJob | None:
        """Make a job that can be waited for from what is kept of one; None if its images are gone."""
        job = TrackedJob.restored(record)
        if job.over:
            job.result = await self._repository.result(job.id)
            if job.result is None:
                await self._repository.drop_key(job.id)
                return None
            job.work = asyncio.get_running_loop().create_future()
            job.work.set_result(job.result)
        else:
            job.detached = True  # if its waiters here leave, others may wait in its own process
            job.work = asyncio.create_task(self._made_elsewhere(job))
            job.work.add_done_callback(consume_exception)
        return job

    async def _made_elsewhere(self, job: TrackedJob) -> Generated:
        await self._watch(job)
        if job.failure is not None:
            raise job.failure
        return (await self.get(job.id, with_result=True)).result or _gone(job.id)

    async def _joined(
        self, job: TrackedJob, parameters: GenerationParameters, *, detached: bool, kept: bool
    ) -> TrackedJob:
        """Return a job that another request joins, once it is kept."""
        await self._accepted(job)
        job.detached |= detached
        if kept and not job.kept:
            job.kept = True
            await self._keep_later(job, parameters)
        return job

    async def _keep_later(self, job: TrackedJob, parameters: GenerationParameters) -> None:
        """Keep a job that was begun as one that is not, and may have ended."""
        try:
            await self._repository.add(replace(job.record(), state="queued"), parameters)
        except DiffusionError:
            job.kept = False
            raise
        if job.result is not None:
            await self._repository.finish(job.ending(job.result, job.ended or self._now()), job.result)
            self._jobs.pop(job.id, None)

    async def _expire(self, *, at_once: bool = False) -> None:
        """Drop finished jobs that are beyond a limit; asked for often, done once a second."""
        retention, now = self._policy.retention, self._now()
        if at_once or now - self._expired_at >= 1:
            self._expired_at = now
            for unclaimed in to_drop([job.record() for job in self._jobs.values() if job.over], retention, now):
                del self._jobs[unclaimed.id]
            try:
                await self._repository.expire(retention, now)
            except StorageUnavailable:
                return  # later
        self._expire_later()

    def _expire_later(self) -> None:
        """Set a timer for the next expiry, so that images are freed even if no request comes."""
        if self._expiry is None:
            wait_s = max(self._policy.retention.keep_s, _SOONEST_S)
            self._expiry = asyncio.get_running_loop().call_later(wait_s, self._on_expiry)

    def _on_expiry(self) -> None:
        self._expiry = None
        self._in_background(self._expire(at_once=True))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(consume_exception)


def _gone(job_id: str) -> Generated:
    raise ExpiredJob(job_id)


async def _outcome(job: TrackedJob) -> Generated:
    try:
        return await asyncio.shield(job.work)
    except asyncio.CancelledError:
        if job.work.cancelled():
            raise Cancelled("The job was cancelled.") from None
        raise
