"""Joins requests that a client sends again with the same idempotency key."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from ..errors import DiffusionError, ExpiredJob, IdempotencyConflict
from ..generator import Generated
from ..requests.parameters import GenerationParameters
from ..uncancellable import consume_exception
from .following import Following
from .in_flight import InFlight
from .keeping.lookup import Lookup
from .keeping.repository import JobRepository
from .record import JobRecord
from .tracked_job import TrackedJob
from .waiting import wait_until_kept, wanted

Join = Literal["always", "in_flight", "never"]
"""Jobs of the same key that a request joins: all that are kept; those whose outcome has reached no client; none.

Only `always` has a job kept after its outcome has reached the client that waits for it."""


class IdempotencyKeys:
    """Finds the jobs of keys, and has requests join them. Event loop only."""

    def __init__(
        self,
        repository: JobRepository,
        in_flight: InFlight,
        lookup: Lookup,
        following: Following,
        now: Callable[[], float],
    ) -> None:
        self._repository = repository
        self._in_flight = in_flight
        self._lookup = lookup
        self._following = following
        self._now = now

    async def find(self, client: str, key: str | None, body: bytes) -> TrackedJob | None:
        """Return the job of a key, which may run in another process; None if the key is free.

        Raises:
            IdempotencyConflict: the key was sent before with another model or body.
        """
        if key is None:
            return None
        record = await self._repository.with_key(client, key)
        job = self._in_flight.with_key(client, key)
        if job is None and record is not None:
            job = self._in_flight.get(record.id)  # it has failed, and its outcome could not be written yet
        if job is not None and (job.stopping or job.failure is not None):
            job.key = None
            await self._repository.drop_key(job.id)
            return await self.find(client, key, body)
        if job is None and record is not None:
            job = await self._with_outcome(record)
        if job is not None and job.body != body:
            raise IdempotencyConflict(key)
        return job

    async def join(
        self, job: TrackedJob, parameters: GenerationParameters, *, detached: bool, kept: bool
    ) -> TrackedJob:
        """Return a job that another request joins, once all that the request needs of it is kept.

        Args:
            job: of `find`.
            parameters: of both requests.
            detached: whether it is to continue without a waiting client.
            kept: whether it is to be kept after its outcome has reached one.

        Raises:
            StorageUnavailable, KeyTaken: it cannot be kept.
        """
        with wanted(job):
            await wait_until_kept(job)
            async with job.keeping:
                if detached:
                    await self._detach(job)
                if kept and not job.kept:
                    await self._keep_later(job, parameters)
        return job

    async def _detach(self, job: TrackedJob) -> None:
        """Have a job continue without a waiting client, also in another process or after a restart."""
        before, job.detached = job.detached, True
        ours = self._in_flight.get(job.id) is job
        if not job.kept or (before if ours else job.over):
            return
        try:
            await self._repository.detach(job.id)
        except DiffusionError:
            job.detached = before
            raise

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
        await self._following.watch(job)
        if job.failure is not None:
            raise job.failure
        result = (await self._lookup.get(job.id, with_result=True)).result
        if result is None:
            raise ExpiredJob(job.id)
        return result

    async def _keep_later(self, job: TrackedJob, parameters: GenerationParameters) -> None:
        """Keep a job that was begun as one that is not, and may end before it is kept."""
        record = job.record()
        await self._repository.add(replace(record, state="queued" if job.over else job.state, ended=None), parameters)
        job.kept = True
        outcome = job.result or job.failure
        if outcome is not None:
            await self._repository.finish(job.ending(outcome, job.ended or self._now()), job.result)
            self._in_flight.drop(job.id)
