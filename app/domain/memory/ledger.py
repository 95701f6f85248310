"""The ledger of the pool: which requests hold which model, and which bytes are where.

Every sum is derived anew from a few facts, so that no counter can drift. A pool has tens of models with a handful of components
each: adding them up takes microseconds.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..engine import Device
from ..errors import DiffusionError
from ..models.components import Component, ComponentId, LoadedModel, LoadProgress, OnLoad
from ..models.spec import ModelName, ModelSpec, Residency
from .budget import Budget
from .eviction import Idle, IdleModel, Shares

Tier = Literal["host", "device"]


@dataclass(slots=True, eq=False)
class Reservation:
    """Memory granted to a request: the model stays on its tier, and the bytes of activations stay free, until it is returned."""

    pooled: "PooledModel"
    tier: Tier
    activation_nbytes: int = 0
    together_nbytes: int = 0
    """Part of them that adds up with those of other reservations of the model, because they run at the same time."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed; requests before `until` get the same error."""

    error: DiffusionError
    until: float


@dataclass(slots=True, kw_only=True)
class Record:
    """History of a model since the server started; survives its unloading."""

    loads: int = 0
    found: dict[Residency, int] = field(default_factory=dict[Residency, int])
    swap_nbytes: int = 0
    swap_s: float = 0.0
    """Seconds of its last way to the device, or into memory if that is the same."""
    pinned: bool = False
    last_used: float | None = None


@dataclass(slots=True, eq=False)
class PooledModel:
    """One version of one model in the pool."""

    spec: ModelSpec
    record: Record
    model: LoadedModel | None = None
    expected: tuple[Component, ...] = ()
    """Components that loading will bring: those of the last load, before that a guess; counted from the reservation on."""
    reservations: list[Reservation] = field(default_factory=list[Reservation])
    work: dict[str, asyncio.Task[Any]] = field(default_factory=dict[str, "asyncio.Task[Any]"])
    """Work that is done once for all waiting requests: `fetch`, `load`, `place`."""
    progress: LoadProgress | None = None
    listeners: list[OnLoad] = field(default_factory=list[OnLoad])
    failure: Failure | None = None
    leaving: bool = False
    """Whether its memory is being freed."""

    @property
    def components(self) -> tuple[Component, ...]:
        """Its components in memory; none while it is cold."""
        return tuple(self.model.components) if self.model is not None else ()

    @property
    def busy(self) -> bool:
        """Whether a lease holds it, or it is being read or moved."""
        return bool(self.reservations or self.work or self.leaving)

    @property
    def promised(self) -> bool:
        """Whether it is cold, but on its way into memory for a request."""
        return self.model is None and bool(self.reservations or "load" in self.work)

    @property
    def for_device(self) -> bool:
        """Whether its components are on the device, or on their way there, for a request."""
        return "place" in self.work or any(reservation.tier == "device" for reservation in self.reservations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes of each tier that are taken or promised; both are the same if the device's memory is the host's."""

    host_nbytes: int
    device_nbytes: int


@dataclass(slots=True)
class DeviceCopies:
    """Components with a copy on one device; empty if the device's memory is the host's."""

    placed: set[ComponentId] = field(default_factory=set[ComponentId])
    dropping: set[ComponentId] = field(default_factory=set[ComponentId])
    """Components whose copy is being dropped: no request may use it any more, its bytes still count."""


class Ledger:
    """All models in the pool, and the copies of their components on each device. One device is used today."""

    def __init__(self) -> None:
        self.pooled_models: dict[ModelName, PooledModel] = {}
        self.outdated_versions: list[PooledModel] = []
        """Old versions that are still in use or being freed."""
        self.device = ""
        """Name of the device that models run on; known once the engine has started."""
        self.copies: defaultdict[str, DeviceCopies] = defaultdict(DeviceCopies)
        """Books by the name of the device."""
        self.queue: list[PooledModel] = []
        """Models of the requests that wait for memory, first come first."""
        self.lookahead: list[ModelName] = []
        """Models of the requests that will ask for memory later, the next one first."""
        self.budget = Budget()
        self.shared = False
        """Whether the device's memory is the host's."""

    @property
    def placed(self) -> set[ComponentId]:
        """Components with a copy on the device."""
        return self.copies[self.device].placed

    @property
    def dropping(self) -> set[ComponentId]:
        """Components whose copy on the device is being dropped."""
        return self.copies[self.device].dropping

    def copy(self) -> "Ledger":
        """Copy the ledger, so that evictions can be played on it. Models are shared: replace one, never change it."""
        twin = Ledger()
        twin.pooled_models, twin.outdated_versions = dict(self.pooled_models), list(self.outdated_versions)
        twin.device = self.device
        for device, copies in self.copies.items():
            twin.copies[device] = DeviceCopies(set(copies.placed), set(copies.dropping))
        twin.queue, twin.lookahead = list(self.queue), list(self.lookahead)
        twin.budget, twin.shared = self.budget, self.shared
        return twin

    def use_device(self, device: Device) -> None:
        """Count for this device from now on. Call after the engine has started."""
        self.device, self.shared = device.name, device.shares_host_memory

    def all(self) -> list[PooledModel]:
        """List every model that may have bytes in memory."""
        return [*self.pooled_models.values(), *self.outdated_versions]

    def components(self) -> dict[ComponentId, Component]:
        """List every component in host memory, shared ones once."""
        return _unique(self.all())

    def usage(
        self, also: Reservation | None = None, of: Iterable[PooledModel] | None = None, *, alone: bool = False
    ) -> Usage:
        """Sum the bytes taken and promised, of all models or of those given.

        Args:
            also: a reservation that counts as granted.
            of: models to count; all by default.
            alone: whether other reservations are left out.
        """
        pooled_models = self.all() if of is None else list(of)
        extra = None if also is None else also.pooled
        parts = {pooled: pooled.expected if pooled.promised or pooled is extra else () for pooled in pooled_models}
        parts |= {pooled: pooled.components for pooled in pooled_models if pooled.model is not None}
        host = {part.id: part.nbytes for own in parts.values() for part in own}
        held = [] if alone else [reservation for pooled in pooled_models for reservation in pooled.reservations]
        reservations = held + ([] if also is None else [also])
        activations = _activations(reservations)
        if self.shared:
            both = sum(host.values()) + activations
            return Usage(host_nbytes=both, device_nbytes=both)
        for_device = {pooled for pooled in pooled_models if pooled.for_device} | {
            reservation.pooled for reservation in reservations if reservation.tier == "device"
        }
        device = {part.id: part.nbytes for pooled in for_device for part in parts.get(pooled, ())}
        device |= {key: nbytes for key, nbytes in host.items() if key in self.placed | self.dropping}
        return Usage(host_nbytes=sum(host.values()), device_nbytes=sum(device.values()) + activations)

    def reserved_nbytes(self) -> int:
        """Return the bytes for activations: the largest need of any model's leases; a device works for one model at a time."""
        return _activations([reservation for pooled in self.all() for reservation in pooled.reservations])

    def limits(self) -> Usage:
        """Return the budget in bytes, a very large number if there is no limit."""
        host, device = (
            2**62 if limit is None else limit for limit in (self.budget.host_nbytes, self.budget.device_nbytes)
        )
        if self.shared:
            host = device = min(host, device)
        return Usage(host_nbytes=host, device_nbytes=device)

    def idle_on_device(self, besides: PooledModel | None) -> list[Idle]:
        """List the device copies that may be dropped."""
        kept = [pooled for pooled in self.all() if pooled.for_device or pooled.record.pinned or pooled is besides]
        held = _unique(kept)
        return [
            Idle(
                key=component.id,
                nbytes=component.nbytes,
                last_used=max(pooled.record.last_used or 0.0 for pooled in owners),
                wanted=_first(self._wanted(pooled) for pooled in owners),
            )
            for component in self.components().values()
            if component.id in self.placed and component.id not in held
            for owners in [self.owners(component.id)]
        ]

    def idle_on_host(self, besides: PooledModel | None) -> list[tuple[IdleModel, PooledModel]]:
        """List the models that may leave memory altogether."""
        return [
            (
                IdleModel(
                    key=pooled.spec.name,
                    components=tuple({component.id for component in pooled.components}),
                    last_used=pooled.record.last_used or 0.0,
                    wanted=self._wanted(pooled),
                ),
                pooled,
            )
            for pooled in self.pooled_models.values()
            if pooled.model is not None and not pooled.busy and not pooled.record.pinned and pooled is not besides
        ]

    def shares(self) -> Shares:
        """Count the models that have each component."""
        unique = self.components()
        return Shares(
            nbytes={key: component.nbytes for key, component in unique.items()},
            models={key: len(self.owners(key)) for key in unique},
        )

    def owners(self, component: ComponentId) -> list[PooledModel]:
        """List the models that have a component in memory."""
        return [pooled for pooled in self.all() if any(own.id == component for own in pooled.components)]

    def missing_on_device(self, pooled: PooledModel) -> list[Component]:
        """List the components of a loaded model that have no copy on the device."""
        if self.shared:
            return []
        return [component for component in _unique([pooled]).values() if component.id not in self.placed]

    def residency(self, pooled: PooledModel) -> Residency:
        """Return where a model is; `device` only if all of its components are there."""
        if pooled.model is None:
            return "cold"
        return "host" if self.missing_on_device(pooled) else "device"

    def outdated(self, pooled: PooledModel) -> bool:
        """Tell whether this is an old version that no request uses or waits for; such versions are unloaded."""
        return pooled in self.outdated_versions and not pooled.busy and pooled not in self.queue

    def forget_freed(self) -> None:
        """Remove the device copies that went with the last model that had them."""
        self.copies[self.device].placed &= self.components().keys()

    def _wanted(self, pooled: PooledModel) -> int | None:
        """Position of the first request that waits for it, in the pool's queue or behind it."""
        if pooled in self.queue:
            return self.queue.index(pooled)
        name = pooled.spec.name
        return len(self.queue) + self.lookahead.index(name) if name in self.lookahead else None


def _activations(reservations: Iterable[Reservation]) -> int:
    """Sum activations: a device works for one model at a time, and for all reservations of it that run together."""
    most: dict[PooledModel, int] = {}
    sums: dict[PooledModel, int] = {}
    for reservation in reservations:
        most[reservation.pooled] = max(most.get(reservation.pooled, 0), reservation.activation_nbytes)
        sums[reservation.pooled] = sums.get(reservation.pooled, 0) + reservation.together_nbytes
    return max((max(most[pooled], sums[pooled]) for pooled in most), default=0)


def _unique(pooled_models: Iterable[PooledModel]) -> dict[ComponentId, Component]:
    return {component.id: component for pooled in pooled_models for component in pooled.components}


def _first(positions: Iterable[int | None]) -> int | None:
    return min((position for position in positions if position is not None), default=None)
