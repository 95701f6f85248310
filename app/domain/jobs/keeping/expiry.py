"""Drops finished jobs that are beyond a limit: at the start, when one ends, when they are asked for, and by a timer."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ...errors import StorageUnavailable
from ...uncancellable import consume_exception
from ..in_flight import InFlight
from .repository import JobRepository
from .retention import Retention, to_drop

_INTERVAL_S = 1.0
"""Shortest time between two looks that requests cause, in seconds."""
_SOONEST_S = 0.01
"""Shortest time until the timer, in seconds, because the clocks of jobs and of timers may differ a little."""
_LONGEST_S = 60.0
"""Longest time between two looks, in seconds: jobs of before a restart, and of other processes, end their time at any moment."""


class Expiry:
    """Applies the limits of finished jobs. Event loop only."""

    def __init__(
        self, repository: JobRepository, in_flight: InFlight, retention: Retention, now: Callable[[], float]
    ) -> None:
        """Set no timer yet.

        Args:
            repository: keeps the jobs.
            in_flight: those that this process has.
            retention: which finished jobs are kept.
            now: clock, in seconds since the epoch.
        """
        self._repository = repository
        self._in_flight = in_flight
        self._retention = retention
        self._now = now
        self._looked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None

    async def expire(self, *, at_once: bool = False) -> None:
        """Drop the finished jobs that are beyond a limit, if the last look was long ago or this one must be at once."""
        now = self._now()
        if at_once or now - self._looked_at >= _INTERVAL_S:
            self._looked_at = now
            for unclaimed in to_drop([job.record() for job in self._in_flight if job.over], self._retention, now):
                self._in_flight.drop(unclaimed.id)
            with suppress(StorageUnavailable):  # the timer looks again
                await self._repository.expire(self._retention, now)
        self._set_timer()

    async def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait([self._look])

    def _set_timer(self) -> None:
        """Set a timer for the next look, so that images are freed even if no request comes."""
        if self._timer is None:
            wait_s = min(max(self._retention.keep_s, _SOONEST_S), _LONGEST_S)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._look = asyncio.create_task(self.expire(at_once=True))
        self._look.add_done_callback(consume_exception)
