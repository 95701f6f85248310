"""The event log of one job, read by any number of listeners, each at its own speed. Event loop only."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["queued", "loading", "step", "preview", "done", "failed", "cancelled"]

_LAST: frozenset[EventKind] = frozenset({"done", "failed", "cancelled"})
_KEPT = 256
"""Events that are kept of a job; the oldest are dropped first, because newer ones supersede them."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event of a job."""

    id: int
    """Number of the event, from 1; consecutive except for dropped events."""
    kind: EventKind
    data: Mapping[str, Any]
    """Details of the event, ready for JSON."""


class EventLog:
    """Events of a job, from the first to the one that ends it.

    A listener reads from here at its own speed, so a slow one delays no other, and misses only events that were dropped.
    """

    def __init__(self) -> None:
        self._events: list[JobEvent] = []
        self._next_id = 1
        self._grown = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether the event that ends the job was added."""
        return bool(self._events) and self._events[-1].kind in _LAST

    def add(self, kind: EventKind, **data: Any) -> None:
        """Add an event, unless the job has ended. Only the latest preview is kept."""
        if self.ended:
            return
        if kind == "preview":
            self._events = [event for event in self._events if event.kind != "preview"]
        self._events.append(JobEvent(self._next_id, kind, data))
        self._next_id += 1
        if len(self._events) > _KEPT:
            del self._events[0]
        # Each event wakes the present listeners and is replaced, so no listener has to reset it for the others.
        self._grown.set()
        self._grown = asyncio.Event()

    def after(self, event_id: int) -> list[JobEvent]:
        """Return the kept events after this one, in order."""
        return [event for event in self._events if event.id > event_id]

    async def follow(self, after_id: int = 0, *, idle_s: float | None = None) -> AsyncGenerator[JobEvent | None]:
        """Yield the events after one, past and future, until the one that ends the job.

        Args:
            after_id: id of the last event that the listener knows.
            idle_s: seconds without an event after which None is yielded; None for never.
        """
        while True:
            grown, fresh = self._grown, self.after(after_id)
            for event in fresh:
                after_id = event.id
                yield event
            if fresh:
                continue  # more events may have been added while the listener handled these
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
