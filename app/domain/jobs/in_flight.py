"""The jobs that this process has."""

from collections.abc import Iterator

from .tracked_job import TrackedJob


class InFlight:
    """Jobs that this process runs, and those whose outcome waits for its client; oldest first. Event loop only."""

    def __init__(self) -> None:
        self._jobs: dict[str, TrackedJob] = {}

    def __iter__(self) -> Iterator[TrackedJob]:
        return iter(list(self._jobs.values()))

    def add(self, job: TrackedJob) -> None:
        """Have a job."""
        self._jobs[job.id] = job

    def drop(self, job_id: str) -> None:
        """Have a job no longer; nothing happens if this process does not have it."""
        self._jobs.pop(job_id, None)

    def get(self, job_id: str) -> TrackedJob | None:
        """Return a job; None if this process does not have it."""
        return self._jobs.get(job_id)

    def with_key(self, client: str, key: str) -> TrackedJob | None:
        """Return the job of a client with an idempotency key."""
        return next((job for job in self._jobs.values() if (job.client, job.key) == (client, key)), None)

    @property
    def unfinished(self) -> int:
        """How many have not ended."""
        return sum(not job.over for job in self._jobs.values())
