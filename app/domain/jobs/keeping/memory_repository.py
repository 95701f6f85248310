"""Jobs in the memory of this process."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from ...errors import KeyTaken
from ...generator import Generated
from ...requests.parameters import GenerationParameters
from ..record import JobProgress, JobQuery, JobRecord, place_of
from ..webhooks.memory_deliveries import MemoryDeliveries
from ..webhooks.webhook import delivery_of
from .retention import Retention, to_drop

_REMEMBERED = 10_000
"""Expired jobs that are known to have existed, so that they are not reported as unknown."""


class MemoryJobRepository:
    """Implements `JobRepository` in memory. No method suspends. Event loop only."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, JobRecord] = OrderedDict()
        self._expired: OrderedDict[str, JobRecord] = OrderedDict()
        self._parameters: dict[str, GenerationParameters] = {}
        self._results: dict[str, Generated] = {}
        self._released: set[str] = set()
        self._deliveries = MemoryDeliveries()

    @property
    def durable(self) -> bool:
        """False: they end with the process."""
        return False

    @property
    def deliveries(self) -> MemoryDeliveries:
        """Webhooks of the jobs that have ended; they end with the process."""
        return self._deliveries

    async def open(self) -> None:
        """Nothing to prepare."""

    async def close(self) -> None:
        """Nothing to end."""

    async def add(self, job: JobRecord, parameters: GenerationParameters) -> None:
        """Keep a new job; see `JobRepository.add`."""
        if job.key is not None and await self.with_key(job.client, job.key) is not None:
            raise KeyTaken(job.key)
        self._jobs[job.id] = job
        self._parameters[job.id] = parameters

    async def note(self, progress: Sequence[JobProgress]) -> None:
        """Take over progress; see `JobRepository.note`."""
        for each in progress:
            job = self._jobs.get(each.id)
            if job is not None and not job.over and job.id not in self._released:
                self._jobs[each.id] = _advanced(job, each)

    async def begin_load(self, job_id: str) -> None:
        """Nothing to note: the job ends with the process; see `JobRepository.begin_load`."""

    async def finish(self, job: JobRecord, result: Generated | None) -> bool:
        """Take over an outcome; see `JobRepository.finish`."""
        known = self._jobs.get(job.id)
        if known is None or known.over or job.id in self._released:
            return False
        key = known.key if job.key is not None else None  # none that was dropped
        self._jobs[job.id] = replace(
            job, key=key, cancel_requested=known.cancel_requested, detached=job.detached or known.detached
        )
        self._parameters.pop(job.id, None)
        if result is not None:
            self._results[job.id] = result
        if (delivery := delivery_of(job)) is not None:
            self._deliveries.add(delivery)
        return True

    async def get(self, job_id: str) -> JobRecord | None:
        """Return a job; see `JobRepository.get`."""
        return self._jobs.get(job_id) or self._expired.get(job_id)

    async def with_key(self, client: str, key: str) -> JobRecord | None:
        """Return the job of a key; see `JobRepository.with_key`."""
        return next((job for job in self._jobs.values() if (job.client, job.key) == (client, key)), None)

    async def result(self, job_id: str) -> Generated | None:
        """Return images; see `JobRepository.result`."""
        return self._results.get(job_id)

    async def page(self, query: JobQuery) -> list[JobRecord]:
        """List jobs; see `JobRepository.page`."""
        found = [job for job in self._jobs.values() if query.matches(job)]
        found.sort(key=lambda job: (place_of(job).created, job.id), reverse=True)
        return found[: query.limit]

    async def drop_key(self, job_id: str) -> None:
        """Free a key; see `JobRepository.drop_key`."""
        if (job := self._jobs.get(job_id)) is not None:
            self._jobs[job_id] = replace(job, key=None)

    async def forget(self, job_id: str) -> None:
        """Drop a job; see `JobRepository.forget`."""
        job = self._jobs.pop(job_id, None)
        if job is None:
            return
        self._parameters.pop(job_id, None)
        self._results.pop(job_id, None)
        self._expired[job_id] = replace(job, expired=True, prompt="", key=None, events=(), failure=None, nbytes=0)
        while len(self._expired) > _REMEMBERED:
            self._expired.popitem(last=False)

    async def expire(self, retention: Retention, now: float) -> None:
        """Drop old jobs; see `JobRepository.expire`."""
        for job in to_drop([job for job in self._jobs.values() if job.over], retention, now):
            await self.forget(job.id)

    async def claim(self, now: float, limit: int) -> list[JobRecord]:  # noqa: ARG002 - the port's signature
        """Take the jobs that were released; see `JobRepository.claim`."""
        released = [job for job in self._jobs.values() if job.id in self._released]
        released.sort(key=lambda job: (job.created, job.id))
        to_run = [job for job in released if not job.cancel_requested][:limit]
        claimed = [job for job in released if job.cancel_requested or job in to_run]
        self._released.difference_update(job.id for job in claimed)
        return claimed

    async def parameters(self, job_id: str) -> GenerationParameters:
        """Return parameters; see `JobRepository.parameters`."""
        return self._parameters[job_id]

    async def release(self, job_ids: Sequence[str]) -> None:
        """Give jobs back; see `JobRepository.release`."""
        for job_id in job_ids:
            if (job := self._jobs.get(job_id)) is not None and not job.over:
                self._jobs[job_id] = replace(job, state="queued")
                self._released.add(job_id)

    async def renew(self, now: float) -> None:
        """No other process waits for a sign of life."""

    async def detach(self, job_id: str) -> None:
        """Note that no client need wait; see `JobRepository.detach`."""
        if (job := self._jobs.get(job_id)) is not None and not job.over:
            self._jobs[job_id] = replace(job, detached=True)

    async def request_cancel(self, job_id: str) -> None:
        """Note the wish; see `JobRepository.request_cancel`."""
        if (job := self._jobs.get(job_id)) is not None and not job.over:
            self._jobs[job_id] = replace(job, cancel_requested=True)

    async def to_cancel(self) -> list[str]:
        """Return unfinished jobs that are to end; see `JobRepository.to_cancel`."""
        return [job.id for job in self._jobs.values() if job.cancel_requested and not job.over]


def _advanced(job: JobRecord, progress: JobProgress) -> JobRecord:
    return replace(
        job,
        state=progress.state,
        started=progress.started,
        steps_done=progress.steps_done,
        steps_total=progress.steps_total,
        events=progress.events,
    )
