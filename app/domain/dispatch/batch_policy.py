"""Who runs next: a pure function of the line, of what runs, and of where the models are.

Requests of one lane share steps, so whoever can join what runs does. Otherwise the first in line whose model is on the device
goes before those whose model has to be brought, while the first of these is brought alongside; but whoever is overdue is
passed over by nobody (`line.Patience`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .lanes import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One request in line, as far as it matters here."""

    key: str
    lane: Lane
    rows: int
    state: Literal["waiting", "called", "ready"]
    """It stands in line; its model is being leased; it has its lease."""
    alone: bool = False
    """Whether it must share no step."""
    overdue: bool = False
    resident: bool = True
    """Whether its model is on the device."""
    fits: bool = True
    """Whether its lease would be granted now, at nobody's cost who waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What runs now."""

    lane: Lane
    rows: int
    alone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Keys of requests that begin to run, and of those that ask for their lease."""

    start: list[str] = field(default_factory=list[str])
    lease: list[str] = field(default_factory=list[str])


def decide(queue: Sequence[Candidate], running: Batch | None, max_rows: Callable[[Lane], int]) -> Decision:
    """What to do now.

    Args:
        queue: everybody who waits, the next one first.
        running: what the device does; None where it is idle.
        max_rows: of a batch that pays.
    """
    start: list[Candidate] = []
    if running is None:
        first = next((candidate for candidate in queue if candidate.state == "ready"), None)
        if first is not None:
            start.append(first)
            running = Batch(lane=first.lane, rows=first.rows, alone=first.alone)
    rest = [candidate for candidate in queue if candidate not in start]
    room = 0 if running is None or running.alone else max_rows(running.lane) - running.rows
    joining = _mates(rest, running, room, "ready") if running else []
    start += joining
    room -= sum(candidate.rows for candidate in joining)
    room -= sum(
        candidate.rows for candidate in rest if running and _mate(candidate, running) and candidate.state == "called"
    )
    lease = _mates([c for c in rest if c.fits], running, room, "waiting") if running else []
    lease += _next([candidate for candidate in rest if candidate not in joining and candidate not in lease], running)
    return Decision(start=[candidate.key for candidate in start], lease=[candidate.key for candidate in lease])


def _mate(candidate: Candidate, running: Batch) -> bool:
    return candidate.lane == running.lane and not candidate.alone


def _mates(queue: Iterable[Candidate], running: Batch, room: int, state: str) -> list[Candidate]:
    """Those who can join what runs without passing over somebody who is overdue."""
    mates: list[Candidate] = []
    for candidate in queue:
        if _mate(candidate, running):
            if candidate.state == state and candidate.rows <= room:
                mates.append(candidate)
                room -= candidate.rows
        elif candidate.overdue and candidate.state != "called":
            break
    return mates


def _next(rest: Sequence[Candidate], running: Batch | None) -> list[Candidate]:
    """Whose lease is asked for in advance: one that is resident, and one that is not, so that it is brought alongside.

    One that came later but is before the one that has its lease already, by its priority or its client, gets its own too.
    """
    lease: list[Candidate] = []
    pending = [candidate for candidate in rest if candidate.state != "waiting"]
    waiting = [candidate for candidate in rest if candidate.state == "waiting"]
    stop = next((index + 1 for index, candidate in enumerate(waiting) if candidate.overdue), len(waiting))
    eligible = waiting[:stop]
    hot = next((candidate for candidate in eligible if candidate.resident), None)
    if hot is not None and not any(
        candidate in pending and candidate.resident for candidate in rest[: rest.index(hot)]
    ):
        lease.append(hot)
    cold = next((candidate for candidate in eligible if not candidate.resident), None)
    if cold is not None and all(candidate.resident for candidate in pending):
        nobody_else = hot is None and not pending and (running is None or cold.lane != running.lane)
        if cold.fits or cold.overdue or nobody_else:
            lease.append(cold)
    return lease
