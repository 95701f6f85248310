"""Finds jobs: by their id, and page by page."""

from ...errors import ExpiredJob, UnknownJob
from ..in_flight import InFlight
from ..record import JobQuery, JobRecord
from ..tracked_job import TrackedJob
from .expiry import Expiry
from .repository import JobRepository


class Lookup:
    """Joins the jobs that this process has with those that the repository keeps. Event loop only."""

    def __init__(self, repository: JobRepository, in_flight: InFlight, expiry: Expiry) -> None:
        self._repository = repository
        self._in_flight = in_flight
        self._expiry = expiry

    async def get(self, job_id: str, owner: str | None = None, *, with_result: bool = False) -> TrackedJob:
        """Return a job; see `JobStore.get`."""
        await self._expiry.expire()
        job = self._in_flight.get(job_id) or await self._kept(job_id, owner)
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
        return self._in_flight.get(job_id) or TrackedJob.restored(record)

    def _newest(self, record: JobRecord) -> TrackedJob:
        """Return a job as this process has it, unless its end is kept already, and not yet told here."""
        job = self._in_flight.get(record.id)
        return TrackedJob.restored(record) if job is None or (record.over and not job.over) else job

    async def page(self, query: JobQuery) -> list[TrackedJob]:
        """List jobs, the newest first: those that are kept, and those in flight that will not be."""
        await self._expiry.expire()
        records = await self._repository.page(query)
        jobs = [self._newest(record) for record in records]
        known = {job.id for job in jobs}
        jobs += [job for job in self._in_flight if job.id not in known and not job.kept and query.matches(job.record())]
        jobs.sort(key=lambda job: (job.created, job.id), reverse=True)
        return jobs[: query.limit]
