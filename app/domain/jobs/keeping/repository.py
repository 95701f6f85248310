"""The port behind which jobs are kept: in the memory of this process, or in a database that outlives it."""

from collections.abc import Sequence
from typing import Protocol

from ...generator import Generated
from ...requests.parameters import GenerationParameters
from ..record import JobProgress, JobQuery, JobRecord
from ..webhooks.deliveries import Deliveries
from .retention import Retention


class JobRepository(Protocol):
    """Keeps jobs. All methods raise `StorageUnavailable` if the disk is full or the database does not answer.

    Several processes may keep their jobs in one place. A job that is not finished belongs to one of them at most, until that
    process has ended or was silent for too long; the others may then `claim` it.
    """

    @property
    def durable(self) -> bool:
        """Whether jobs outlive the process."""
        ...

    @property
    def deliveries(self) -> Deliveries:
        """Webhooks of the jobs that have ended."""
        ...

    async def open(self) -> None:
        """Prepare for use."""
        ...

    async def close(self) -> None:
        """End all use."""
        ...

    async def add(self, job: JobRecord, parameters: GenerationParameters) -> None:
        """Keep a new job, which belongs to this process.

        Raises:
            KeyTaken: another job of its client has its key.
        """
        ...

    async def note(self, progress: Sequence[JobProgress]) -> None:
        """Take over the progress of unfinished jobs of this process."""
        ...

    async def begin_load(self, job_id: str) -> None:
        """Note that this process begins to load the model of an unfinished job: if that ends it, the job counts as restarted."""
        ...

    async def finish(self, job: JobRecord, result: Generated | None) -> bool:
        """Take over the outcome of a job of this process, and keep the delivery of its webhook.

        Returns:
            Whether the job still belonged to this process and was unfinished; otherwise nothing has changed.
        """
        ...

    async def get(self, job_id: str) -> JobRecord | None:
        """Return a job, also an expired one; None if there was none."""
        ...

    async def with_key(self, client: str, key: str) -> JobRecord | None:
        """Return the job of a client with an idempotency key."""
        ...

    async def result(self, job_id: str) -> Generated | None:
        """Return the images of a job that is done; None if they are gone."""
        ...

    async def page(self, query: JobQuery) -> list[JobRecord]:
        """List jobs, the newest first."""
        ...

    async def drop_key(self, job_id: str) -> None:
        """Free the idempotency key of a job for another one."""
        ...

    async def forget(self, job_id: str) -> None:
        """Drop a job, of which is known only that it existed."""
        ...

    async def expire(self, retention: Retention, now: float) -> None:
        """Drop finished jobs that are beyond a limit."""
        ...

    async def claim(self, now: float, limit: int) -> list[JobRecord]:
        """Make unfinished jobs that belong to no living process those of this one, the oldest first.

        A job that was running, or whose model was being loaded for it, is counted as restarted.

        Args:
            now: seconds since the epoch.
            limit: jobs that are claimed. Those that are to be cancelled are claimed beyond it, because they take no place.
        """
        ...

    async def parameters(self, job_id: str) -> GenerationParameters:
        """Return the parameters of an unfinished job.

        Raises:
            ExpiredJob: its pictures are gone.
        """
        ...

    async def release(self, job_ids: Sequence[str]) -> None:
        """Give unfinished jobs of this process back, as if they had not been begun."""
        ...

    async def renew(self, now: float) -> None:
        """Tell the other processes that this one lives."""
        ...

    async def detach(self, job_id: str) -> None:
        """Have an unfinished job, of any process, continue without a waiting client."""
        ...

    async def request_cancel(self, job_id: str) -> None:
        """Ask the process that has an unfinished job to end it."""
        ...

    async def to_cancel(self) -> list[str]:
        """Return the ids of the jobs of this process that another one was asked to cancel."""
        ...
