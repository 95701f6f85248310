"""Keeps the jobs of this process claimed, takes over those of processes that have ended, and ends those that are cancelled."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from ..errors import Cancelled, ExpiredJob, Interrupted, StorageUnavailable
from .capacity import Capacity
from .job_runner import JobRunner
from .keeping.repository import JobRepository
from .record import JobRecord

_TICK_S = 1.0
"""Seconds between two looks at the repository."""
_BATCH = 16
"""Jobs that are taken over at once, so that other processes get some, too."""


def decide(job: JobRecord, max_attempts: int) -> Literal["begin", "cancel", "abandon", "give_up"]:
    """Decide what becomes of a job whose process has ended.

    Returns:
        `begin` it again; `cancel` it, as was asked; `abandon` it, because its client waited for the answer and is gone with the
        connection; `give_up`, because it may be what ends the processes.
    """
    if job.cancel_requested:
        return "cancel"
    if not job.detached:
        return "abandon"
    return "give_up" if job.restarts >= max_attempts else "begin"


class JobKeeper:
    """Looks at the repository every second. Event loop only."""

    def __init__(
        self,
        repository: JobRepository,
        runner: JobRunner,
        capacity: Capacity,
        *,
        max_attempts: int,
        now: Callable[[], float] = time.time,
        tick_s: float = _TICK_S,
    ) -> None:
        """Make a keeper that does nothing yet.

        Args:
            repository: keeps the jobs.
            runner: runs those of this process.
            capacity: says how many it may take over.
            max_attempts: processes that may end while they load a job's model or run it; then it fails.
            now: clock, in seconds since the epoch.
            tick_s: seconds between two looks.
        """
        self._repository = repository
        self._runner = runner
        self._capacity = capacity
        self._max_attempts = max_attempts
        self._now = now
        self._tick_s = tick_s
        self._claimed: deque[JobRecord] = deque()
        """Claimed and not taken over yet, in case the repository fails in between."""

    async def run(self) -> None:
        """Look until cancelled. If the repository does not answer, look again later."""
        while True:
            with suppress(StorageUnavailable):
                await self.look()
            await asyncio.sleep(self._tick_s)

    async def look(self) -> None:
        """Do what is due once."""
        await self._repository.renew(self._now())
        for job_id in await self._repository.to_cancel():
            self._runner.stop(job_id)
        self._claimed.extend(await self._repository.claim(self._now(), min(_BATCH, self._capacity.places)))
        while self._claimed:
            await self._take_over(self._claimed[0])
            self._claimed.popleft()

    async def _take_over(self, job: JobRecord) -> None:
        match decide(job, self._max_attempts):
            case "begin":
                await self._begin(job)
            case "cancel":
                await self._runner.end_unbegun(job, Cancelled("The job was cancelled."))
            case "abandon":
                gone = "The server ended while the client waited. Send it again."
                await self._runner.end_unbegun(job, Cancelled(gone, abandoned=True))
            case "give_up":
                await self._runner.end_unbegun(job, Interrupted(job.restarts))

    async def _begin(self, job: JobRecord) -> None:
        try:
            parameters = await self._repository.parameters(job.id)
        except ExpiredJob as error:  # its pictures were removed
            await self._runner.end_unbegun(job, error)
        else:
            self._runner.adopt(job, parameters)
