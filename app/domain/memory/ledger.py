"""The ledger of the pool: which requests hold which assets, and which bytes are where.

Every sum is derived anew from a few facts, so that no counter can drift. A pool has tens of models and perhaps hundreds of
adapters with a handful of components each: adding them up takes microseconds, at most a millisecond.
"""

import asyncio
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..engine import Device
from ..errors import DiffusionError
from ..models.assets import AssetKey, AssetSpec, key_of
from ..models.components import Component, ComponentId, LoadedModel, LoadProgress, OnLoad
from ..models.spec import ModelSpec, Residency
from .budget import Budget
from .eviction.eviction import Idle, IdleAsset, Shares

Tier = Literal["host", "device"]


@dataclass(slots=True, eq=False)
class Reservation:
    """Memory granted to a request, until it is returned: its assets stay on their tier, the bytes of its activations stay free.

    All assets of a request are reserved at once. If one were reserved after the other, two requests that hold one each could wait
    for each other's for ever.
    """

    assets: "tuple[PooledAsset, ...]"
    """The model first, and what is added to it."""
    tier: Tier
    activation_nbytes: int = 0
    together_nbytes: int = 0
    """Part of them that adds up with those of other reservations of its weights, because they run at the same time."""
    device: str = ""
    """Name of the device on which the request runs."""

    @property
    def lead(self) -> "PooledAsset":
        """The model; another asset if that is moved alone."""
        return self.assets[0]


@dataclass(frozen=True, slots=True)
class Failure:
    """A load that failed; requests before `until` get the same error."""

    error: DiffusionError
    until: float


@dataclass(slots=True, kw_only=True)
class Record:
    """History of an asset since the server started; survives its unloading."""

    loads: int = 0
    found: dict[Residency, int] = field(default_factory=dict[Residency, int])
    swap_nbytes: int = 0
    swap_s: float = 0.0
    """Seconds of its last way to the device, or into memory if that is the same."""
    pinned: bool = False
    last_used: float | None = None


@dataclass(slots=True, eq=False)
class PooledAsset:
    """One version of one model, adapter or VAE in the pool."""

    spec: AssetSpec
    record: Record
    loaded: LoadedModel | None = None
    """What the loader returned; None while it is cold."""
    expected: tuple[Component, ...] = ()
    """Components that loading will bring: those of the last load, before that a guess; counted from the reservation on."""
    reservations: list[Reservation] = field(default_factory=list[Reservation])
    work: dict[str, asyncio.Task[Any]] = field(default_factory=dict[str, "asyncio.Task[Any]"])
    """Work that is done once for all waiting requests: `fetch`, `load`, and `placing` for each device."""
    progress: LoadProgress | None = None
    listeners: list[OnLoad] = field(default_factory=list[OnLoad])
    failure: Failure | None = None
    leaving: bool = False
    """Whether its memory is being freed."""

    @property
    def key(self) -> AssetKey:
        """Its kind and name."""
        return key_of(self.spec)

    @property
    def components(self) -> tuple[Component, ...]:
        """Its components in memory; none while it is cold."""
        return tuple(self.loaded.components) if self.loaded is not None else ()

    @property
    def busy(self) -> bool:
        """Whether a lease holds it, or it is being read or moved."""
        return bool(self.reservations or self.work or self.leaving)

    @property
    def promised(self) -> bool:
        """Whether it is cold, but on its way into memory for a request."""
        return self.loaded is None and bool(self.reservations or "load" in self.work)

    def is_for(self, device: str) -> bool:
        """Tell whether its components are on a device, or on their way there, for a request."""
        return placing(device) in self.work or any(
            reservation.tier == "device" and reservation.device == device for reservation in self.reservations
        )


def placing(device: str) -> str:
    """Name the work of bringing an asset to a device."""
    return f"place on {device}"


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
    """All assets in host memory, and the copies of their components on one device.

    A machine has one ledger for each device. They share the assets, so that bytes in host memory count once, however many devices
    have copies of them.
    """

    def __init__(self, beside: "Ledger | None" = None) -> None:
        """Make the ledger of a device; `beside`: one of another device of the same machine."""
        self.machine: list[Ledger] = [] if beside is None else beside.machine
        """Ledgers of all devices of the machine, itself included."""
        self.machine.append(self)
        self.current: dict[AssetKey, PooledAsset] = {} if beside is None else beside.current
        """Current version of each asset that a request has named."""
        self.outdated_versions: list[PooledAsset] = [] if beside is None else beside.outdated_versions
        """Old versions that are still in use or being freed."""
        self.device = ""
        """Name of the device that models run on; known once the engine has started."""
        self._copies = DeviceCopies()
        self.queue: list[Reservation] = []
        """What the requests of this device ask for that wait for memory, first come first."""
        self.lookahead: dict[AssetKey, int] = {}
        """Assets of the requests that will ask for memory later: the place of the first such request among them."""
        self.budget = Budget()
        self.shared = False
        """Whether the device's memory is the host's."""

    @property
    def label(self) -> str:
        """Name of the device if the machine has several; empty otherwise."""
        return self.device if len(self.machine) > 1 else ""

    @property
    def placed(self) -> set[ComponentId]:
        """Components with a copy on the device."""
        return self._copies.placed

    @property
    def dropping(self) -> set[ComponentId]:
        """Components whose copy on the device is being dropped."""
        return self._copies.dropping

    def copy(self) -> "Ledger":
        """Copy the ledger, so that evictions can be played on it. Assets are shared: replace one, never change it.

        Those of the other devices are copied with it.
        """
        twin = Ledger()
        twin.current, twin.outdated_versions = dict(self.current), list(self.outdated_versions)
        for own in self.machine:
            (twin if own is self else Ledger(twin)).resemble(own)
        return twin

    def resemble(self, other: "Ledger") -> None:
        """Copy what a ledger says of its device."""
        self.device, self.shared, self.budget = other.device, other.shared, other.budget
        self._copies = DeviceCopies(set(other.placed), set(other.dropping))
        self.queue, self.lookahead = list(other.queue), other.lookahead

    def use_device(self, device: Device) -> None:
        """Count for this device from now on. Call after the engine has started."""
        self.device, self.shared = device.name, device.shares_host_memory

    def all(self) -> list[PooledAsset]:
        """List every asset that may have bytes in memory."""
        return [*self.current.values(), *self.outdated_versions]

    def reservations(self) -> list[Reservation]:
        """List the reservations that are granted for this device, each once."""
        return self.granted(self.all())

    def components(self) -> dict[ComponentId, Component]:
        """List every component in host memory, shared ones once."""
        return _unique(self.all())

    def usage(
        self, also: Reservation | None = None, of: Iterable[PooledAsset] | None = None, *, alone: bool = False
    ) -> Usage:
        """Sum the bytes taken and promised, of all assets or of those given.

        Args:
            also: a reservation that counts as granted; its assets need not be in the pool.
            of: assets to count; all by default.
            alone: whether other reservations are left out.
        """
        extra = () if also is None else also.assets
        assets = list(dict.fromkeys((*(self.all() if of is None else of), *extra)))
        parts = {pooled: pooled.expected if pooled.promised or pooled in extra else () for pooled in assets}
        parts |= {pooled: pooled.components for pooled in assets if pooled.loaded is not None}
        host = {part.id: part.nbytes for own in parts.values() for part in own}
        reservations = ([] if alone else self.granted(assets)) + ([] if also is None else [also])
        activations = _activations(reservations)
        host_nbytes = sum(host.values())
        if not alone:  # work of devices whose memory is the host's takes that of the host
            host_nbytes += sum(_activations(other.granted(assets)) for other in self._others() if other.shared)
        if self.shared:
            both = host_nbytes + activations
            return Usage(host_nbytes=both, device_nbytes=both)
        for_device = {pooled for pooled in assets if pooled.is_for(self.device)} | {
            pooled for reservation in reservations if reservation.tier == "device" for pooled in reservation.assets
        }
        device = {part.id: part.nbytes for pooled in for_device for part in parts.get(pooled, ())}
        device |= {key: nbytes for key, nbytes in host.items() if key in self.placed | self.dropping}
        return Usage(host_nbytes=host_nbytes, device_nbytes=sum(device.values()) + activations)

    def reserved_nbytes(self) -> int:
        """Return the bytes for activations: the largest need of any model's leases; a device works for one model at a time."""
        return _activations(self.reservations())

    def limits(self) -> Usage:
        """Return the budget in bytes, a very large number if there is no limit."""
        host, device = (
            2**62 if limit is None else limit for limit in (self.budget.host_nbytes, self.budget.device_nbytes)
        )
        if self.shared:
            host = device = min(host, device)
        return Usage(host_nbytes=host, device_nbytes=device)

    def idle_on_device(self, besides: Collection[PooledAsset] = ()) -> list[Idle]:
        """List the device copies that may be dropped, except those of the assets given."""
        kept = [
            pooled for pooled in self.all() if pooled.is_for(self.device) or pooled.record.pinned or pooled in besides
        ]
        held, owners = _unique(kept), self.owners()
        return [
            Idle(
                key=component.id,
                nbytes=component.nbytes,
                last_used=max(pooled.record.last_used or 0.0 for pooled in owners[component.id]),
                wanted=_first(self.wanted(pooled) for pooled in owners[component.id]),
            )
            for component in self.components().values()
            if component.id in self.placed and component.id not in held
        ]

    def idle_on_host(self, besides: Collection[PooledAsset] = ()) -> list[tuple[IdleAsset, PooledAsset]]:
        """List the assets that may leave memory altogether, except those given."""
        return [
            (
                IdleAsset(
                    key=pooled.key,
                    components=tuple({component.id for component in pooled.components}),
                    last_used=pooled.record.last_used or 0.0,
                    wanted=_first(ledger.wanted(pooled) for ledger in self.machine),
                ),
                pooled,
            )
            for pooled in self.current.values()
            if pooled.loaded is not None and not pooled.busy and not pooled.record.pinned and pooled not in besides
        ]

    def shares(self) -> Shares:
        """Count the assets that have each component."""
        unique, owners = self.components(), self.owners()
        return Shares(
            nbytes={key: component.nbytes for key, component in unique.items()},
            owners={key: len(owners[key]) for key in unique},
        )

    def owners(self) -> dict[ComponentId, list[PooledAsset]]:
        """List the assets that have each component in memory."""
        owners: dict[ComponentId, list[PooledAsset]] = {}
        for pooled in self.all():
            for key in dict.fromkeys(component.id for component in pooled.components):
                owners.setdefault(key, []).append(pooled)
        return owners

    def waiting(self, pooled: PooledAsset) -> int:
        """Count the requests that wait for memory and want an asset, on any device."""
        return sum(pooled in reservation.assets for ledger in self.machine for reservation in ledger.queue)

    def others_wait(self) -> bool:
        """Tell whether requests of other devices wait for memory."""
        return any(other.queue for other in self._others())

    def missing_on_device(self, pooled: PooledAsset) -> list[Component]:
        """List the components of a loaded asset that have no copy on the device."""
        if self.shared:
            return []
        return [component for component in _unique([pooled]).values() if component.id not in self.placed]

    def residency(self, pooled: PooledAsset) -> Residency:
        """Return where an asset is; `device` only if all of its components are there."""
        if pooled.loaded is None:
            return "cold"
        return "host" if self.missing_on_device(pooled) else "device"

    def outdated(self, pooled: PooledAsset) -> bool:
        """Tell whether this is an old version that no request uses or waits for; such versions are unloaded."""
        return pooled in self.outdated_versions and not pooled.busy and not self.waiting(pooled)

    def forget_freed(self) -> None:
        """Remove the copies, on all devices, that went with the last asset that had them."""
        left = self.components().keys()
        for ledger in self.machine:
            ledger.placed.intersection_update(left)

    def _others(self) -> "list[Ledger]":
        return [ledger for ledger in self.machine if ledger is not self]

    def granted(self, assets: Iterable[PooledAsset]) -> list[Reservation]:
        """List the reservations of this device that hold one of the assets, each once: it may hold several of them."""
        granted = dict.fromkeys(reservation for pooled in assets for reservation in pooled.reservations)
        return [reservation for reservation in granted if reservation.device == self.device]

    def wanted(self, pooled: PooledAsset) -> int | None:
        """Position of the first request that waits for it, in the pool's queue or behind it."""
        for position, reservation in enumerate(self.queue):
            if pooled in reservation.assets:
                return position
        position = self.lookahead.get(pooled.key)
        return None if position is None else len(self.queue) + position


def _activations(reservations: Iterable[Reservation]) -> int:
    """Sum activations: a device works with one model's weights at a time, and for all reservations of them that run together."""
    most: dict[Hashable, int] = {}
    sums: dict[Hashable, int] = {}
    for reservation in reservations:
        spec = reservation.lead.spec
        # Requests of a preset share steps with those of its base.
        weights = spec.weights if isinstance(spec, ModelSpec) else reservation.lead
        most[weights] = max(most.get(weights, 0), reservation.activation_nbytes)
        sums[weights] = sums.get(weights, 0) + reservation.together_nbytes
    return max((max(most[weights], sums[weights]) for weights in most), default=0)


def _unique(assets: Iterable[PooledAsset]) -> dict[ComponentId, Component]:
    return {component.id: component for pooled in assets for component in pooled.components}


def _first(positions: Iterable[int | None]) -> int | None:
    return min((position for position in positions if position is not None), default=None)
