"""Decides when freed memory goes back to the system: the heap of this process keeps what is freed, for images."""

import asyncio
import time
from collections.abc import Callable

_WORTH_NBYTES = 64_000_000
"""Freed bytes after which there may be something to give back."""
_SETTLE_S = 1.0
"""Seconds in which other work of the same burst ends, too."""
_PAUSE_S = 10.0
"""Least seconds between two times, because images that are being made need the pages again at once."""


class FreedMemory:
    """Counts bytes that were freed, and gives them back soon after there are many. Event loop only."""

    def __init__(self, give_back: Callable[[], None], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Count nothing yet.

        Args:
            give_back: blocks for milliseconds; called in a thread.
            clock: seconds, monotonic.
        """
        self._give_back = give_back
        self._clock = clock
        self._nbytes = 0
        self._last_s = float("-inf")
        self._giving: asyncio.Future[None] | None = None

    def note(self, nbytes: int) -> None:
        """Count bytes that are free, or about to be."""
        self._nbytes += nbytes
        if self._nbytes >= _WORTH_NBYTES and (self._giving is None or self._giving.done()):
            self._giving = asyncio.ensure_future(self._return())

    async def _return(self) -> None:
        await asyncio.sleep(max(_SETTLE_S, self._last_s + _PAUSE_S - self._clock()))
        self._nbytes = 0
        await asyncio.to_thread(self._give_back)
        self._last_s = self._clock()
