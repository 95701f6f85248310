"""A token bucket: how much may be used a minute."""

from collections.abc import Callable


class TokenBucket:
    """Holds the tokens of one minute at most, and fills up evenly.

    An amount beyond a whole minute's tokens is taken from a full bucket, and leaves a debt: it is possible, and the rate holds
    in the long run.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        """Make a full bucket; `clock` is in seconds and never goes back."""
        self._capacity = per_minute
        self._per_s = per_minute / 60
        self._clock = clock
        self._level = per_minute
        self._filled_s = clock()

    @property
    def left(self) -> float:
        """Tokens that can be taken now; 0 while there is a debt."""
        self._fill()
        return max(0.0, self._level)

    def wait_s(self, amount: float) -> float:
        """Return the seconds until an amount can be taken; 0 if it can be taken now."""
        self._fill()
        return max(0.0, min(amount, self._capacity) - self._level) / self._per_s

    def take(self, amount: float) -> float:
        """Take an amount if it is there; otherwise take nothing, and return the seconds until it will be."""
        if (wait_s := self.wait_s(amount)) > 0:
            return wait_s
        self._level -= amount
        return 0.0

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._capacity, self._level + max(0.0, now - self._filled_s) * self._per_s)
        self._filled_s = now
