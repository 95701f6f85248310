"""Notes on disk that the model of a job is loaded, before it is: a file that ends the process ends no more than a few."""

from ..dispatch.job import BeforeLoad
from ..errors import StorageUnavailable
from .repository import JobRepository
from .tracked_job import TrackedJob


def load_noted(job: TrackedJob, repository: JobRepository) -> BeforeLoad | None:
    """Make what a job awaits before its model is loaded; None if it ends with the process anyway."""
    if not job.kept or not repository.durable:
        return None

    async def note() -> None:
        try:
            await repository.begin_load(job.id)
        except StorageUnavailable:
            return  # the job was accepted, and a full disk delays none

    return note
