"""The event log of one job, read by any number of listeners, each at its own speed. Event loop only."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

EventKind = Literal["queued", "loading", "step", "preview", "restarted", "done", "failed", "cancelled"]

_LAST: frozenset[EventKind] = frozenset({"done", "failed", "cancelled"})
_KEPT = 256
"""Events that are kept of a job; the oldest are dropped first, because newer ones supersede them."""
_SUMMARY = 64
"""Events that outlive the process."""
_UNKNOWN = 1_000_000
"""Ids that are left out after a restart: listeners may know of events that were told and not kept, and ask for those after."""


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

    def __init__(self, events: Iterable[JobEvent] = (), *, of_other_process: bool = False) -> None:
        """Make a log.

        Args:
            events: those that are known.
            of_other_process: whether there may have been later ones, which only their listeners know.
        """
        self._events: list[JobEvent] = list(events)
        last = self._events[-1].id if self._events else 0
        self._next_id = last + 1 + (_UNKNOWN if of_other_process else 0)
        self._grown = asyncio.Event()
        self._closed = False
        self._last: JobEvent | None = None

    @property
    def ended(self) -> bool:
        """Whether the event that ends the job was added."""
        return bool(self._events) and self._events[-1].kind in _LAST

    @property
    def last(self) -> JobEvent | None:
        """The newest event; None before the first."""
        return self._events[-1] if self._events else None

    def close(self) -> None:
        """Let listeners go without an event that ends the job, because it goes on in another process."""
        self._closed = True
        self._wake()

    def add(self, kind: EventKind, **data: Any) -> None:
        """Add an event, unless the job has ended. Only the latest preview is kept."""
        if self.ended or self._last is not None:
            return
        if kind == "preview":
            self._events = [event for event in self._events if event.kind != "preview"]
        self._events.append(JobEvent(self._next_id, kind, data))
        self._next_id += 1
        if len(self._events) > _KEPT:
            del self._events[0]
        self._wake()

    def prepare_end(self, kind: EventKind, **data: Any) -> tuple[JobEvent, ...]:
        """Take no more events, and return what outlives the process, the last event included, which no listener is told yet."""
        if self.ended:
            return self.summary()
        if self._last is None:
            self._last = JobEvent(self._next_id, kind, data)
        return (*self.summary(), self._last)

    def end(self) -> None:
        """Tell the listeners of the end that was prepared."""
        if self._last is not None and not self.ended:
            self._events.append(self._last)
            self._wake()

    def take_over(self, events: Iterable[JobEvent]) -> None:
        """Add the events of a job that runs in another process, as far as they are new."""
        last = self._events[-1].id if self._events else 0
        if new := [event for event in events if event.id > last]:
            self._events.extend(new)
            del self._events[:-_KEPT]
            self._wake()

    def summary(self) -> tuple[JobEvent, ...]:
        """Return the events that outlive the process: no previews, and not every step."""
        told = [event for event in self._events if event.kind != "preview"]
        steps = [event for event in told if event.kind in ("step", "loading")]
        others = [event for event in told if event.kind not in ("step", "loading")][-_SUMMARY // 2 :]
        room = _SUMMARY - len(others) - 1
        stride = -(-len(steps) // room) if steps else 1
        kept = {event.id for event in (*others, *steps[::stride], *steps[-1:])}
        return tuple(event for event in told if event.id in kept)

    def _wake(self) -> None:
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
            if self.ended or self._closed:
                return
            if not await _set_within(grown, idle_s):
                yield None


async def _set_within(event: asyncio.Event, seconds: float | None) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
