"""What happened to one job, for any number of listeners, each at its own speed. Event loop only."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["queued", "loading", "step", "preview", "done", "failed", "cancelled"]

_LAST: frozenset[EventKind] = frozenset({"done", "failed", "cancelled"})
_KEPT = 256
"""Events of a job, at most: older steps, places and bytes are forgotten first, as newer ones say all that they did."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One thing that happened."""

    id: int
    """Counts up from 1, without a gap until something is forgotten."""
    kind: EventKind
    data: Mapping[str, Any]
    """Ready for JSON."""


class EventLog:
    """Grows until the job ends.

    Whoever listens reads from here whenever it can, so a slow listener delays nobody and misses only what has been forgotten.
    """

    def __init__(self) -> None:
        self._events: list[JobEvent] = []
        self._next_id = 1
        self._grown = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the last event is there."""
        return bool(self._events) and self._events[-1].kind in _LAST

    def add(self, kind: EventKind, **data: Any) -> None:
        """Note what happened; nothing more after the last event. Only the latest preview is kept."""
        if self.ended:
            return
        if kind == "preview":
            self._events = [event for event in self._events if event.kind != "preview"]
        self._events.append(JobEvent(self._next_id, kind, data))
        self._next_id += 1
        if len(self._events) > _KEPT:
            del self._events[0]
        self._grown.set()
        self._grown = asyncio.Event()

    def after(self, event_id: int) -> list[JobEvent]:
        """What is known of the events after this one, in order."""
        return [event for event in self._events if event.id > event_id]

    async def follow(self, after_id: int = 0, *, idle_s: float | None = None) -> AsyncGenerator[JobEvent | None]:
        """The events after one, those that are there and those to come, until the last.

        Args:
            after_id: the last one that the listener knows.
            idle_s: yields None after so many seconds without an event.
        """
        while True:
            grown, fresh = self._grown, self.after(after_id)
            for event in fresh:
                after_id = event.id
                yield event
            if fresh:
                continue  # more may have come while the listener was busy
            if self.ended:
                return
            if not await _set_within(grown, idle_s):
                yield None


async def _set_within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
