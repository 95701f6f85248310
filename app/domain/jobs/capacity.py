"""How many more jobs this process may have."""

from ..errors import DiffusionError, QueueFull
from ..generator import ImageGenerator
from .in_flight import InFlight

_MOST_PLACES = 1000
"""Jobs that are taken over if there is no limit."""


class Capacity:
    """Compares the unfinished jobs of this process with their limit. Event loop only."""

    def __init__(self, generator: ImageGenerator, in_flight: InFlight, max_unfinished: int | None) -> None:
        self._generator = generator
        self._in_flight = in_flight
        self._max_unfinished = max_unfinished

    @property
    def places(self) -> int:
        """Jobs that may be taken over from other processes now; none while this one refuses new ones."""
        try:
            self._generator.refuse_if_full("")
        except DiffusionError:
            return 0
        limit = self._max_unfinished
        return _MOST_PLACES if limit is None else max(0, limit - self._in_flight.unfinished)

    def refuse_if_full(self, client: str) -> None:
        """Check that a client may start a job.

        Raises:
            QueueFull, TooManyRequests, ShuttingDown, EngineStuck: it may not.
        """
        self._generator.refuse_if_full(client)
        unfinished = self._in_flight.unfinished
        if self._max_unfinished is not None and unfinished >= self._max_unfinished:
            raise QueueFull(
                unfinished,
                retry_after_s=unfinished,
                state="unfinished",
                setting="limits.max_waiting + dispatch.max_rows",
            )
