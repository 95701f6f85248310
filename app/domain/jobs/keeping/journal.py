"""Writes the progress of unfinished jobs to the repository: changes of state at once, steps a few times a second at most."""

import asyncio
from contextlib import suppress

from ...errors import StorageUnavailable
from ..tracked_job import TrackedJob
from .repository import JobRepository

_INTERVAL_S = 1.0
"""Seconds between two writes of the steps of a job: after a crash, that much of its events is lost."""


class Journal:
    """Keeps the progress of jobs up to date. Event loop only."""

    def __init__(self, repository: JobRepository, interval_s: float = _INTERVAL_S) -> None:
        self._repository = repository
        self._interval_s = interval_s
        self._changed: dict[str, TrackedJob] = {}
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    def note(self, job: TrackedJob, *, at_once: bool) -> None:
        """Have the progress of a job written, at once or with that of others."""
        self._changed[job.id] = job
        if at_once:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._due.set)

    async def note_load(self, job: TrackedJob) -> None:
        """Write that the model of a job is loaded for it, before it is: a file that ends the process ends no more than a few."""
        with suppress(StorageUnavailable):  # the job was accepted, and a full disk delays none
            await self._repository.begin_load(job.id)

    async def run(self) -> None:
        """Write what is due, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            try:
                await self.flush()
            except StorageUnavailable:
                self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._due.set)

    async def flush(self) -> None:
        """Write the progress of all jobs that have changed.

        Raises:
            StorageUnavailable: it is tried again later.
        """
        changed, self._changed = self._changed, {}
        progress = [job.progress() for job in changed.values() if not job.over]
        if not progress:
            return
        try:
            await self._repository.note(progress)
        except StorageUnavailable:
            self._changed = {**changed, **self._changed}
            raise
