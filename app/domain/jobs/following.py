"""Follows the events of jobs, of this process and of others that share the repository."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..errors import ExpiredJob, StorageUnavailable
from .event_log import JobEvent
from .in_flight import InFlight
from .keeping.repository import JobRepository
from .tracked_job import TrackedJob

_LOOK_AGAIN_S = 0.5
"""Seconds between two looks at a job that runs in another process."""


class Following:
    """Reads what happens to jobs. Event loop only."""

    def __init__(self, repository: JobRepository, in_flight: InFlight) -> None:
        self._repository = repository
        self._in_flight = in_flight

    async def follow(self, job: TrackedJob, after_id: int, idle_s: float | None) -> AsyncGenerator[JobEvent | None]:
        """Yield the events of a job as `EventLog.follow` does, also if it runs in another process."""
        elsewhere = self._in_flight.get(job.id) is None and not job.over
        watch = asyncio.create_task(self.watch(job)) if elsewhere else None
        try:
            async with aclosing(job.log.follow(after_id, idle_s=idle_s)) as events:
                async for event in events:
                    yield event
        finally:
            if watch is not None:
                watch.cancel()

    async def watch(self, job: TrackedJob) -> None:
        """Take over what another process notes of a job, until its end.

        Raises:
            ExpiredJob: it is no longer kept.
        """
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
