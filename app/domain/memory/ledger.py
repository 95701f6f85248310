"""The pool's books: who holds which model, and which bytes are where.

Every sum is derived from a few facts each time it is asked for, so that nothing can drift; a pool knows tens of models with
a handful of components each, which is nothing to add up.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import DiffusionError
from ..models.components import Component, ComponentId, LoadedModel, LoadProgress, OnLoad
from ..models.spec import ModelName, ModelSpec, Residency
from .budget import Budget
from .eviction import Idle, IdleModel, Shares

Tier = Literal["host", "device"]
Found = Literal["hot", "warm", "cold"]
"""Where a request found its model: on the device, in host memory, or on disk."""


@dataclass(slots=True, eq=False)
class Hold:
    """A granted claim: the model stays on its tier, and the activations' bytes stay free, until it is given back."""

    entry: "Entry"
    tier: Tier
    activation_nbytes: int = 0
    together_nbytes: int = 0
    """How much of them adds up with those of other holds of the model, because they run at the same time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed: the same answer is given to all who ask before `until`."""

    error: DiffusionError
    until: float


@dataclass(slots=True, kw_only=True)
class Record:
    """What happened to a model since the server started; survives its unloading."""

    loads: int = 0
    found: dict[Found, int] = field(default_factory=dict[Found, int])
    swap_nbytes: int = 0
    swap_s: float = 0.0
    """Of the last time that the model came to the device, or into memory where that is the same."""
    pinned: bool = False
    last_used: float | None = None


@dataclass(slots=True, eq=False)
class Entry:
    """One version of one model."""

    spec: ModelSpec
    record: Record
    model: LoadedModel | None = None
    expected: tuple[Component, ...] = ()
    """What loading will bring: what it brought last time, before that a guess; promised from the claim to the end of the load."""
    holds: list[Hold] = field(default_factory=list[Hold])
    work: dict[str, asyncio.Task[Any]] = field(default_factory=dict[str, "asyncio.Task[Any]"])
    """What is being done once for all who wait: `fetch`, `load`, `place`."""
    progress: LoadProgress | None = None
    listeners: list[OnLoad] = field(default_factory=list[OnLoad])
    failure: Failure | None = None
    leaving: bool = False
    """Whether its memory is being freed right now."""

    @property
    def components(self) -> tuple[Component, ...]:
        """Its components in memory; none while it is cold."""
        return tuple(self.model.components) if self.model is not None else ()

    @property
    def busy(self) -> bool:
        """Whether a lease holds it, or it is being read or moved."""
        return bool(self.holds or self.work or self.leaving)

    @property
    def promised(self) -> bool:
        """Whether it is cold, but on its way into memory on somebody's behalf."""
        return self.model is None and bool(self.holds or "load" in self.work)

    @property
    def for_device(self) -> bool:
        """Whether its components are on the device, or on their way there, on somebody's behalf."""
        return "place" in self.work or any(hold.tier == "device" for hold in self.holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes of each tier that are taken or promised; the two are one where the device's memory is the host's."""

    host_nbytes: int
    device_nbytes: int


class Books:
    """All entries, and the components that have a copy on the device."""

    def __init__(self) -> None:
        self.entries: dict[ModelName, Entry] = {}
        self.departed: list[Entry] = []
        """Old versions that are still in use, and entries whose memory is being freed."""
        self.placed: set[ComponentId] = set()
        """Components with a copy on the device; nobody's business where the device's memory is the host's."""
        self.dropping: set[ComponentId] = set()
        """Components whose device copy is being dropped: no longer there for anybody, still counted."""
        self.queue: list[Entry] = []
        """Whose turn to claim memory comes when: an entry for each waiting request, first come first."""
        self.foreseen: list[ModelName] = []
        """The models of requests that will claim memory later, the next one first."""
        self.budget = Budget()
        self.shared = False
        """Whether the device's memory is the host's."""

    def all(self) -> list[Entry]:
        """Every entry that may have bytes in memory."""
        return [*self.entries.values(), *self.departed]

    def components(self) -> dict[ComponentId, Component]:
        """Every component in host memory, once however many models share it."""
        return _unique(self.all())

    def usage(self, also: Hold | None = None, of: Iterable[Entry] | None = None, *, alone: bool = False) -> Usage:
        """Bytes taken and promised, as if `also` had been granted, and alone, of all entries or of those given."""
        entries = self.all() if of is None else list(of)
        extra = None if also is None else also.entry
        parts = {entry: entry.expected if entry.promised or entry is extra else () for entry in entries}
        parts |= {entry: entry.components for entry in entries if entry.model is not None}
        host = {part.id: part.nbytes for own in parts.values() for part in own}
        held = [] if alone else [hold for entry in entries for hold in entry.holds]
        holds = held + ([] if also is None else [also])
        activations = _activations(holds)
        if self.shared:
            both = sum(host.values()) + activations
            return Usage(host_nbytes=both, device_nbytes=both)
        for_device = {entry for entry in entries if entry.for_device} | {
            hold.entry for hold in holds if hold.tier == "device"
        }
        device = {part.id: part.nbytes for entry in for_device for part in parts.get(entry, ())}
        device |= {key: nbytes for key, nbytes in host.items() if key in self.placed | self.dropping}
        return Usage(host_nbytes=sum(host.values()), device_nbytes=sum(device.values()) + activations)

    def reserved_nbytes(self) -> int:
        """For activations: the most that any model's leases need, because a device works for one model at a time."""
        return _activations([hold for entry in self.all() for hold in entry.holds])

    def limits(self) -> Usage:
        """The budget; practically endless where there is no limit."""
        host, device = (
            2**62 if limit is None else limit for limit in (self.budget.host_nbytes, self.budget.device_nbytes)
        )
        if self.shared:
            host = device = min(host, device)
        return Usage(host_nbytes=host, device_nbytes=device)

    def idle_on_device(self, besides: Entry | None) -> list[Idle]:
        """The device copies that may be dropped."""
        kept = [entry for entry in self.all() if entry.for_device or entry.record.pinned or entry is besides]
        held = _unique(kept)
        return [
            Idle(
                key=component.id,
                nbytes=component.nbytes,
                last_used=max(entry.record.last_used or 0.0 for entry in owners),
                wanted=_first(self._wanted(entry) for entry in owners),
            )
            for component in self.components().values()
            if component.id in self.placed and component.id not in held
            for owners in [self.owners(component.id)]
        ]

    def idle_on_host(self, besides: Entry | None) -> list[tuple[IdleModel, Entry]]:
        """The models that may leave memory altogether."""
        return [
            (
                IdleModel(
                    key=entry.spec.name,
                    components=tuple({component.id for component in entry.components}),
                    last_used=entry.record.last_used or 0.0,
                    wanted=self._wanted(entry),
                ),
                entry,
            )
            for entry in self.entries.values()
            if entry.model is not None and not entry.busy and not entry.record.pinned and entry is not besides
        ]

    def shares(self) -> Shares:
        """How many models have each component."""
        unique = self.components()
        return Shares(
            nbytes={key: component.nbytes for key, component in unique.items()},
            models={key: len(self.owners(key)) for key in unique},
        )

    def owners(self, component: ComponentId) -> list[Entry]:
        """The entries that have a component in memory."""
        return [entry for entry in self.all() if any(own.id == component for own in entry.components)]

    def missing_on_device(self, entry: Entry) -> list[Component]:
        """The components of a loaded model that have no copy on the device."""
        if self.shared:
            return []
        return [component for component in _unique([entry]).values() if component.id not in self.placed]

    def residency(self, entry: Entry) -> Residency:
        """Where a model is; on the device only if all of it is."""
        if entry.model is None:
            return "cold"
        return "host" if self.missing_on_device(entry) else "device"

    def outdated(self, entry: Entry) -> bool:
        """Whether it is an old version that nobody uses or waits for; such leave by themselves."""
        return entry in self.departed and not entry.busy and entry not in self.queue

    def forget_freed(self) -> None:
        """Strike the device copies that went with the last model that had them."""
        self.placed &= self.components().keys()

    def _wanted(self, entry: Entry) -> int | None:
        """Position of the first request that waits for it, in the pool's queue or behind that."""
        if entry in self.queue:
            return self.queue.index(entry)
        name = entry.spec.name
        return len(self.queue) + self.foreseen.index(name) if name in self.foreseen else None


def _activations(holds: Iterable[Hold]) -> int:
    """Bytes of activations: a device works for one model at a time, and for those of its holds that run together."""
    most: dict[Entry, int] = {}
    sums: dict[Entry, int] = {}
    for hold in holds:
        most[hold.entry] = max(most.get(hold.entry, 0), hold.activation_nbytes)
        sums[hold.entry] = sums.get(hold.entry, 0) + hold.together_nbytes
    return max((max(most[entry], sums[entry]) for entry in most), default=0)


def _unique(entries: Iterable[Entry]) -> dict[ComponentId, Component]:
    return {component.id: component for entry in entries for component in entry.components}


def _first(positions: Iterable[int | None]) -> int | None:
    return min((position for position in positions if position is not None), default=None)
