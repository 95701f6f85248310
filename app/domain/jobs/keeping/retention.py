"""Which finished jobs are still kept."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..record import JobRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Limits of the finished jobs that are kept; the oldest are dropped first."""

    keep_s: float = 600.0
    """Seconds for which a finished job is kept."""
    max_finished: int = 100
    """Finished jobs that are kept."""
    max_result_nbytes: int = 512 * 1024**2
    """Bytes of the images of all finished jobs that are kept."""


def to_drop(finished: Iterable[JobRecord], retention: Retention, now: float) -> list[JobRecord]:
    """Return the finished jobs that are beyond a limit."""
    dropped = list[JobRecord]()
    count = nbytes = 0
    for job in sorted(finished, key=lambda job: (job.ended or now, job.id), reverse=True):
        count, nbytes = count + 1, nbytes + job.nbytes
        old = now - (job.ended or now) >= retention.keep_s
        if old or count > retention.max_finished or nbytes > retention.max_result_nbytes:
            dropped.append(job)
    return dropped
