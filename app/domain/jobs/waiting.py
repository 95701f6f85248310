"""Counts the clients that wait for jobs: a job for which none waits ends, unless it is detached."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

from ..errors import Cancelled
from ..generator import Generated
from ..uncancellable import consume_exception
from .in_flight import InFlight
from .tracked_job import TrackedJob


class Waiting:
    """Lets clients wait for the outcome of jobs. Event loop only."""

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight

    def begin(self, job: TrackedJob, linger_s: float = 0) -> "asyncio.Task[Generated]":
        """Begin to wait for a job: the waiter counts from now on, and not from the next turn of the event loop.

        Args:
            job: to wait for.
            linger_s: seconds that it continues for a client that comes back.
        """
        job.waiters += 1
        waiting = asyncio.ensure_future(_outcome(job))
        waiting.add_done_callback(consume_exception)
        waiting.add_done_callback(lambda _: self._left(job, linger_s, delivered=not waiting.cancelled()))
        return waiting

    def _left(self, job: TrackedJob, linger_s: float, *, delivered: bool) -> None:
        """Note that a waiter has gone, with the outcome or without."""
        job.waiters -= 1
        if delivered and not job.kept:
            self._in_flight.drop(job.id)
        elif linger_s and not job.over:
            asyncio.get_running_loop().call_later(linger_s, job.stop_unless_wanted)
        else:
            job.stop_unless_wanted()


@contextmanager
def wanted(job: TrackedJob) -> Generator[None]:
    """Count as a waiter, so that no other one ends the job by leaving. An exception ends the job if there is no other."""
    job.waiters += 1
    try:
        yield
    except BaseException:
        job.waiters -= 1
        job.stop_unless_wanted()
        raise
    job.waiters -= 1


async def wait_until_kept(job: TrackedJob) -> None:
    """Wait until a job is kept; this counts as a waiter.

    Raises:
        StorageUnavailable, KeyTaken: it could not be kept.
    """
    with wanted(job):
        await job.accepted.wait()
    if job.refused is not None:
        raise job.refused.with_traceback(None)


async def _outcome(job: TrackedJob) -> Generated:
    try:
        return await asyncio.shield(job.work)
    except asyncio.CancelledError:
        if job.work.cancelled():
            raise Cancelled("The job was cancelled.") from None
        raise
