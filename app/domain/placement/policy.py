"""Decides which waiting request goes to which device: a pure function of the line and the devices.

A request goes to the device on which it would begin first: behind the work that the device has, and after its model has come
there. So it goes to a device that has its model; another copy is made only if bringing it ends before the queues of those that
have one do. A request for which no device has room waits in the line, and counts as work of the device that it waits for.

A device has room for the batch that it runs and for the next one, whose model it loads during that. More is not given to it, so
that the line decides late, by what the devices did and not by what was expected of them. The first request of a client is given
away at once: the device, which shares its time between clients in slices, must know of it.

The order of the line is start-time fair queueing with several requests at a time (SFQ(D): Jin, Chase and Kaur 2004, "Interposed
proportional sharing for a storage service utility"). So between two clients that always wait the shares of all devices together
differ by at most what the devices have been given: two batches each.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from ..dispatch.lanes import Lane
from ..models.spec import ModelName

BATCHES = 2
"""Batches that a device is given: the one that it runs, and the next one."""
FIRSTS = 8
"""Batches that it is given at most if a request is the only one of its client on any device."""
COPY_PAYS = 1.5
"""Times the seconds of bringing a model by which a queue must be longer than another one, before one more copy is made: it takes
the place of another model, which must be brought back later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request in the line."""

    key: str
    lane: Lane
    rows: int
    run_s: float
    """Estimated seconds that it takes a device."""
    alone: bool = False
    """Whether it shares no step with another request."""
    overdue: bool = False
    """Whether no later request may be given to the device that it waits for."""
    unfit: Collection[str] = ()
    """Names of devices whose memory is too small for it."""
    first: bool = False
    """Whether it is the next request of a client of which no device was given one."""

    @property
    def model(self) -> ModelName:
        """The model that it needs."""
        return self.lane.model


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLoad:
    """A device, and what it was given."""

    name: str
    busy_s: float = 0.0
    """Seconds until all that it was given has ended."""
    given: Sequence[Waiting] = ()
    """Requests that it was given and that have not ended, those that have not begun included."""
    pending: Collection[str] = ()
    """Keys of those that have not begun."""
    bring_s: Mapping[ModelName, float] = field(default_factory=dict[ModelName, float])
    """Seconds to bring a model there; models that are there, or on their way, are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A request, and the device that it is given to."""

    key: str
    device: str


MaxRows = Callable[[Lane], int]
"""Rows of the largest batch of a lane that is worth running."""


def decide(line: Sequence[Waiting], devices: Sequence[DeviceLoad], max_rows: MaxRows) -> list[Placed]:
    """Decide which requests are given to which device.

    Args:
        line: requests that no device was given, the next one first; those that fit none of the devices are passed over.
        devices: those that answer.
        max_rows: rows of the largest batch of a lane that is worth running.

    Returns:
        What to give away now; if there is nothing in the line for a device that has no work, a request that another device was
        given and has not begun.
    """
    known_rows = cache(max_rows)
    states = [_State(device, known_rows) for device in devices]
    names = {device.name for device in devices}
    placed = _given([waiting for waiting in line if names - set(waiting.unfit)], states)
    return placed or _moved(states)


def _given(line: Sequence[Waiting], states: "Sequence[_State]") -> list[Placed]:
    """Give requests away: those that are overdue, then those whose model is there, then those for which a model is brought."""
    placed: dict[str, str] = {}

    def give(waiting: Waiting, state: _State | None) -> bool:
        if state is not None and state.has_room(waiting):
            state.give(waiting)
            placed[waiting.key] = state.name
        return waiting.key in placed

    for waiting in line:
        if waiting.overdue and not give(waiting, soonest := _soonest(waiting, states)):
            soonest.expect(waiting)
    for waiting in line:
        if not waiting.overdue:
            having = [state for state in states if not state.bring_s(waiting) and state.has_room(waiting)]
            give(waiting, _soonest(waiting, having) if having else None)
    for waiting in line:
        if (
            not waiting.overdue
            and waiting.key not in placed
            and not give(waiting, soonest := _soonest(waiting, states))
        ):
            soonest.expect(waiting)
    return [Placed(key=waiting.key, device=placed[waiting.key]) for waiting in line if waiting.key in placed]


def _soonest(waiting: Waiting, states: "Sequence[_State]") -> "_State":
    return min(states, key=lambda state: state.cost_s(waiting))


def _moved(states: "Sequence[_State]") -> list[Placed]:
    """Find a request for a device without work among those that wait for another device, if it begins sooner there."""
    idle = [state for state in states if state.idle]
    pending = [(busy, waiting) for busy in states for waiting in busy.pending]
    best = max(
        ((busy.wait_s(waiting) - state.cost_s(waiting), waiting, state) for state in idle for busy, waiting in pending),
        key=lambda move: move[0],
        default=None,
    )
    if best is None or best[0] <= 0:
        return []
    return [Placed(key=best[1].key, device=best[2].name)]


class _State:
    """A device while a decision is made. Sums are kept, because a long line looks at each device for each request."""

    def __init__(self, load: DeviceLoad, max_rows: MaxRows) -> None:
        self.name = load.name
        self.idle = not load.given
        self._load = load
        self._max_rows = max_rows
        self._busy_s = load.busy_s
        self._arriving: set[ModelName] = set()
        self._closed = False
        self._rows: dict[Lane, int] = {}
        self._batches = 0
        for waiting in load.given:
            self._add(waiting)

    @property
    def pending(self) -> list[Waiting]:
        """Requests that it was given and has not begun."""
        return [waiting for waiting in self._load.given if waiting.key in self._load.pending]

    def cost_s(self, waiting: Waiting) -> float:
        """Seconds until a request would begin here; those of bringing its model count for more."""
        return math.inf if self.name in waiting.unfit else self._busy_s + self.bring_s(waiting) * COPY_PAYS

    def wait_s(self, waiting: Waiting) -> float:
        """Seconds until a request that the device was given begins, at most."""
        return self._busy_s - waiting.run_s

    def has_room(self, waiting: Waiting) -> bool:
        """Tell whether the device may be given a request now."""
        if self._closed or self.name in waiting.unfit:
            return False
        more = self._more_batches(waiting)
        return not more or self._batches + more <= (FIRSTS if waiting.first else BATCHES)

    def give(self, waiting: Waiting) -> None:
        """Count a request as given."""
        self.idle = False
        self._add(waiting)
        self._count(waiting)

    def expect(self, waiting: Waiting) -> None:
        """Count a request as work to come."""
        self._closed = self._closed or waiting.overdue
        self._count(waiting)

    def bring_s(self, waiting: Waiting) -> float:
        """Seconds to bring the model of a request here; 0 if it is here or on its way."""
        return 0.0 if waiting.model in self._arriving else self._load.bring_s.get(waiting.model, 0.0)

    def _count(self, waiting: Waiting) -> None:
        self._busy_s += waiting.run_s + self.bring_s(waiting)
        self._arriving.add(waiting.model)

    def _add(self, waiting: Waiting) -> None:
        self._batches += self._more_batches(waiting)
        if not waiting.alone:
            self._rows[waiting.lane] = self._rows.get(waiting.lane, 0) + waiting.rows

    def _more_batches(self, waiting: Waiting) -> int:
        """Count the batches that a request adds: none if it joins one."""
        if waiting.alone:
            return 1
        most, rows = max(1, self._max_rows(waiting.lane)), self._rows.get(waiting.lane, 0)
        return math.ceil((rows + waiting.rows) / most) - math.ceil(rows / most)
