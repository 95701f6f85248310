"""Decides which request runs next: a pure function of the queue, the running batch and the residency of the models.

Requests of one lane share steps, so each request that can join the running batch does. Otherwise the first request whose model
is on the device runs before those whose model must be loaded; the model of the first of these is loaded while the device works.
No request overtakes one that is overdue (`fair_queue.AgingPolicy`).

A batch that has run for a time slice gives way to the first request if that cannot join it and its client has had less of the
device than another client of the batch. That may be before the slice has ended, if the request takes less itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .lanes import Lane

_ROUNDING_S = 0.001
"""Seconds by which virtual times that are equal may differ: they are sums of many measured seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One waiting request: what the decision depends on."""

    key: str
    lane: Lane
    rows: int
    client: str = ""
    may_lease: bool = False
    """Whether it may lease its model."""
    leased: bool = False
    """Whether it holds its lease."""
    alone: bool = False
    """Whether it shares no step with another request."""
    virtual_start: float = 0.0
    """Virtual time of its turn, in seconds; see `fair_queue`."""
    slice_s: float = float("inf")
    """Seconds for which a batch must have run before it gives way to this request."""
    claimed: bool = False
    """Whether the memory for its lease is reserved, so that it waits for its model alone."""
    overdue: bool = False
    resident: bool = True
    """Whether its model is on the device."""
    fits: bool = True
    """Whether its lease would be granted now without evicting a model that other requests wait for."""

    @property
    def blocked(self) -> bool:
        """Whether it gets the memory for its lease only when others give it back."""
        return not (self.claimed or self.leased) and (self.may_lease or not self.fits)

    @property
    def leasing(self) -> bool:
        """Whether it waits for its lease."""
        return self.may_lease and not self.leased


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The running batch; `alone` means that no request may join it."""

    lane: Lane
    rows: int
    alone: bool
    virtual_now: Mapping[str, float] = field(default_factory=dict[str, float])
    """Virtual time of each of its clients at the end of the step in progress."""
    ran_s: float = 0.0
    """Seconds since the device took it up."""
    giving_way: bool = False
    """Whether its requests leave the device after their step, so that no request may join."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Keys of requests."""

    start: list[str] = field(default_factory=list[str])
    """Requests that begin to run."""
    lease: list[str] = field(default_factory=list[str])
    """Requests that may lease their model from now on."""
    give_way_to: str | None = None
    """The request that the batch gives way to."""
    revoke: list[str] = field(default_factory=list[str])
    """Requests that lose a lease, or a claim of one, which keeps memory from the one that the batch gives way to."""


def decide(queue: Sequence[Candidate], running: Batch | None, max_rows: Callable[[Lane], int]) -> Decision:
    """Decide which requests begin to run and which lease their model.

    Args:
        queue: the waiting requests, the next one first.
        running: the batch that runs; None if the device is idle.
        max_rows: rows of the largest batch of a lane that is worth running.
    """
    start: list[Candidate] = []
    # An idle device runs the first request that holds its lease; its lane is the lane of the batch.
    if running is None:
        first = next((candidate for candidate in queue if candidate.leased), None)
        if first is not None:
            start.append(first)
            running = Batch(lane=first.lane, rows=first.rows, alone=first.alone)
    rest = [candidate for candidate in queue if candidate not in start]
    # No request holds a lease, so none can run: only leases can be allowed.
    if running is None:
        return Decision(lease=_keys(_leased_in_advance(rest, None)))
    # Requests of that lane that hold their lease join at the next step, while the batch has rows left.
    free_rows = 0 if running.alone or running.giving_way else max_rows(running.lane) - running.rows
    joining = _joining(rest, running, free_rows, lambda candidate: candidate.leased)
    # Rows are kept for requests of the lane that wait for their lease: they will join soon.
    free_rows -= sum(candidate.rows for candidate in joining)
    free_rows -= sum(c.rows for c in rest if _can_join(c, running) and c.leasing)
    # The others of the lane may lease if their lease evicts nothing that is needed: they join as soon as they hold it.
    leasing = _joining([c for c in rest if c.fits], running, free_rows, lambda candidate: not candidate.may_lease)
    others = [candidate for candidate in rest if candidate not in joining and candidate not in leasing]
    interrupting = None if start else _interrupting(others, running)
    if interrupting is not None:
        return _giving_way(interrupting, rest)
    return Decision(start=_keys([*start, *joining]), lease=_keys([*leasing, *_leased_in_advance(others, running)]))


def _keys(candidates: Iterable[Candidate]) -> list[str]:
    return [candidate.key for candidate in candidates]


def _can_join(candidate: Candidate, running: Batch) -> bool:
    return candidate.lane == running.lane and not candidate.alone


def _joining(
    queue: Iterable[Candidate], running: Batch, free_rows: int, eligible: Callable[[Candidate], bool]
) -> list[Candidate]:
    """Return the eligible requests that can join the batch without overtaking one that is overdue."""
    joining: list[Candidate] = []
    for candidate in queue:
        if _can_join(candidate, running):
            if eligible(candidate) and candidate.rows <= free_rows:
                joining.append(candidate)
                free_rows -= candidate.rows
        elif candidate.overdue and not candidate.leasing:
            # Every later request of the lane would overtake it. An overdue request that waits for its lease does not count,
            # because it cannot run yet: it loses nothing if others join until then.
            break
    return joining


def _interrupting(others: Sequence[Candidate], running: Batch) -> Candidate | None:
    """Return the first request that the batch gives way to; None if there is none.

    Requests whose model is being loaded are passed over, because the device would idle for them.
    """
    first = next((candidate for candidate in others if candidate.leased or candidate.blocked), None)
    if first is None or running.giving_way or running.ran_s < first.slice_s:
        return None
    others_now = (now for client, now in running.virtual_now.items() if client != first.client)
    return first if any(first.virtual_start <= now + _ROUNDING_S for now in others_now) else None


def _giving_way(first: Candidate, rest: Sequence[Candidate]) -> Decision:
    """Let the batch give way to a request; if that needs memory, later requests give up what they have reserved or wait for."""
    if not first.blocked:
        return Decision(give_way_to=first.key)
    later = rest[rest.index(first) + 1 :]
    return Decision(
        give_way_to=first.key,
        lease=[] if first.may_lease else [first.key],
        revoke=_keys(candidate for candidate in later if candidate.may_lease),
    )


def _leased_in_advance(rest: Sequence[Candidate], running: Batch | None) -> list[Candidate]:
    """Return the requests that may lease their model although they cannot run yet.

    One whose model is on the device, so that the device never waits for a lease; and one whose model is not, so that its model
    is loaded while the device works.
    """
    lease: list[Candidate] = []
    pending = [candidate for candidate in rest if candidate.may_lease]
    queued = [candidate for candidate in rest if not candidate.may_lease]
    # Requests behind the first overdue one may not lease, because they would overtake it.
    stop = next((index + 1 for index, candidate in enumerate(queued) if candidate.overdue), len(queued))
    eligible = queued[:stop]
    # Nor requests behind an overdue one that waits for memory: they would take it.
    starving = next(
        (candidate for candidate in rest if candidate.overdue and candidate.blocked and candidate.may_lease), None
    )
    if starving is not None:
        eligible = [candidate for candidate in eligible if rest.index(candidate) < rest.index(starving)]
    hot = next((candidate for candidate in eligible if candidate.resident), None)
    # One lease in advance is enough, unless a later request was put before the one that holds it, because of its priority or
    # its client.
    if hot is not None and not any(c in pending and c.resident for c in rest[: rest.index(hot)]):
        lease.append(hot)
    cold = next((candidate for candidate in eligible if not candidate.resident), None)
    # One model is loaded at a time: two would compete for the disk and the bus.
    if cold is not None and all(candidate.resident for candidate in pending):
        only_work = hot is None and not pending and (running is None or cold.lane != running.lane)
        # It may evict models that other requests wait for only if it is overdue or the device has no other work.
        if cold.fits or cold.overdue or only_work:
            lease.append(cold)
    return lease
