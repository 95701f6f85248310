"""The latest decisions of the pool with their reasons, as `GET /pool` shows them."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .events import LeaseGranted, PoolEvent


@dataclass(frozen=True, slots=True)
class Decision:
    """An event and its time, on the history's clock."""

    at: float
    event: PoolEvent


class History:
    """Keeps the pool's loads, moves and evictions of the last minutes; a granted lease is no decision."""

    def __init__(self, *, keep_s: float = 900.0, at_most: int = 500, clock: Callable[[], float] = time.time) -> None:
        self._keep_s = keep_s
        self._clock = clock
        self._decisions: deque[Decision] = deque(maxlen=at_most)

    def note(self, event: PoolEvent) -> None:
        """Keep an event of the pool."""
        if not isinstance(event, LeaseGranted):
            self._decisions.append(Decision(self._clock(), event))

    def recent(self) -> tuple[Decision, ...]:
        """List the decisions, the newest first."""
        oldest = self._clock() - self._keep_s
        return tuple(decision for decision in reversed(self._decisions) if decision.at >= oldest)
