"""Decides when freed memory goes back to the system: the heap of this process keeps what is freed, for images."""

import asyncio
import time
from collections.abc import Callable

_WORTH_NBYTES = 64_000_000
"""Freed bytes that are given back soon, also while others come."""
_LEAST_NBYTES = 1_000_000
"""Freed bytes that are given back in the next pause."""
_SETTLE_S = 1.0
"""Seconds in which other work of the same burst ends, too."""
_PAUSE_S = 10.0
"""Least seconds between two times, because images that are being made need the pages again at once."""


class FreedMemory:
    """Counts bytes that were freed, and gives them back: soon if they are many, else in the next pause. Event loop only."""

    def __init__(
        self,
        give_back: Callable[[], None],
        *,
        settle_s: float = _SETTLE_S,
        pause_s: float = _PAUSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count nothing yet.

        Args:
            give_back: blocks for milliseconds; called in a thread.
            settle_s: seconds in which other work of the same burst ends, too.
            pause_s: least seconds between two times; as many without freed bytes are a pause.
            clock: seconds, monotonic.
        """
        self._give_back = give_back
        self._settle_s = settle_s
        self._pause_s = pause_s
        self._clock = clock
        self._nbytes = 0
        self._noted_s = self._last_s = float("-inf")
        self._giving: asyncio.Future[None] | None = None

    def note(self, nbytes: int) -> None:
        """Count bytes that are free, or about to be."""
        self._nbytes += nbytes
        self._noted_s = self._clock()
        if self._nbytes >= _LEAST_NBYTES and (self._giving is None or self._giving.done()):
            self._giving = asyncio.ensure_future(self._return())

    async def _return(self) -> None:
        while self._nbytes >= _LEAST_NBYTES:
            await asyncio.sleep(self._settle_s)
            if self._is_due():
                self._nbytes = 0
                await asyncio.to_thread(self._give_back)
                self._last_s = self._clock()

    def _is_due(self) -> bool:
        waited_since_s = self._last_s if self._nbytes >= _WORTH_NBYTES else max(self._noted_s, self._last_s)
        return self._clock() - waited_since_s >= self._pause_s
