"""Snapshots of the ledger, for people and programs."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..models.assets import AssetKey
from ..models.components import Component, ComponentId, LoadProgress
from ..models.spec import ModelName, Residency
from .budget import Budget
from .eviction.eviction import in_order
from .ledger import Ledger, PooledAsset


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """Sums of the ledger, in bytes. Both are the same if the device's memory is the host's."""

    host_nbytes: int
    """Weights in host memory, shared ones once."""
    device_nbytes: int
    """Weights on the device, and those on their way there."""
    reserved_nbytes: int
    """Bytes for the activations of leased models."""
    leases: int
    waiting: int
    """Requests that wait for memory, or for a model's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetStatus:
    """Where an asset is now, which requests use it, and its history."""

    residency: Residency
    nbytes: int
    """Bytes of weights in memory, shared ones included; 0 while cold."""
    leases: int
    """Requests that hold it or wait for it."""
    waiting: int
    """Requests among them that wait."""
    pinned: bool
    loading: LoadProgress | None
    last_used_s_ago: float | None
    loads: int = 0
    found: tuple[tuple[Residency, int], ...] = ()
    """Number of requests that found it hot, warm or cold."""
    swap_nbytes: int = 0
    swap_s: float = 0.0
    """Seconds of its last way to the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """One component in memory."""

    id: ComponentId
    name: str
    nbytes: int
    dtype: str
    residency: Residency
    owners: tuple[AssetKey, ...]
    """Assets that share it."""
    leases: int
    last_used_s_ago: float | None
    eviction_place: int | None
    """Place among the components that would leave the device next, from 1; None while a request or a pin holds it there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A snapshot of the whole ledger."""

    device: str
    """Name of the device; empty before the engine has started."""
    shares_host_memory: bool
    """Whether the device's memory is the host's."""
    budget: Budget
    stats: PoolStats
    components: tuple[ComponentStatus, ...]
    assets: tuple[tuple[AssetKey, AssetStatus], ...]
    """Every asset that a request has named since the start."""

    @property
    def models(self) -> tuple[tuple[ModelName, AssetStatus], ...]:
        """The models among the assets."""
        return tuple((ModelName(key.name), status) for key, status in self.assets if key.kind == "model")


def pool_stats(ledger: Ledger) -> PoolStats:
    """Sum up a ledger."""
    used, reserved = ledger.usage(), ledger.reserved_nbytes()
    reserved_on_host = sum(other.reserved_nbytes() for other in ledger.machine if other.shared)
    return PoolStats(
        host_nbytes=used.host_nbytes - reserved_on_host,
        device_nbytes=used.device_nbytes - (reserved_on_host if ledger.shared else reserved),
        reserved_nbytes=reserved,
        leases=len(ledger.reservations()),
        waiting=len(ledger.queue),
    )


def asset_status(ledger: Ledger, key: AssetKey, now: float) -> AssetStatus:
    """Describe one asset, whether it is in the pool or not."""
    pooled = ledger.current.get(key)
    if pooled is None:
        return AssetStatus(
            residency="cold", nbytes=0, leases=0, waiting=0, pinned=False, loading=None, last_used_s_ago=None
        )
    return _status(ledger, pooled, now)


def pool_report(ledger: Ledger, now: float) -> PoolReport:
    """Describe the whole ledger."""
    owners, places = ledger.owners(), _eviction_places(ledger)
    return PoolReport(
        device=ledger.device,
        shares_host_memory=ledger.shared,
        budget=ledger.budget,
        stats=pool_stats(ledger),
        components=tuple(
            _component(ledger, part, owners[key], now, places.get(key)) for key, part in ledger.components().items()
        ),
        assets=tuple((key, _status(ledger, pooled, now)) for key, pooled in ledger.current.items()),
    )


def _status(ledger: Ledger, pooled: PooledAsset, now: float) -> AssetStatus:
    record, waiting = pooled.record, ledger.waiting(pooled)
    return AssetStatus(
        residency=ledger.residency(pooled),
        nbytes=sum({component.id: component.nbytes for component in pooled.components}.values()),
        leases=len(pooled.reservations) + waiting,
        waiting=waiting,
        pinned=record.pinned,
        loading=pooled.progress,
        last_used_s_ago=_ago(record.last_used, now),
        loads=record.loads,
        found=tuple(record.found.items()),
        swap_nbytes=record.swap_nbytes,
        swap_s=record.swap_s,
    )


def _eviction_places(ledger: Ledger) -> dict[ComponentId, int]:
    """Number the components in the order in which they would leave the device; none is promised to leave before it is needed."""
    if not ledger.shared:
        return {ComponentId(idle.key): place for place, idle in enumerate(in_order(ledger.idle_on_device()), start=1)}
    leaving = in_order(asset for asset, _ in ledger.idle_on_host())
    owners = {key: len(pooled) for key, pooled in ledger.owners().items()}
    gone = list[ComponentId]()
    for asset in leaving:
        for component in asset.components:
            owners[component] -= 1
            if not owners[component]:  # the last of its owners has left
                gone.append(component)
    return {component: place for place, component in enumerate(gone, start=1)}


def _component(
    ledger: Ledger, component: Component, owners: Sequence[PooledAsset], now: float, eviction_place: int | None
) -> ComponentStatus:
    used = [pooled.record.last_used for pooled in owners if pooled.record.last_used is not None]
    on_device = ledger.shared or component.id in ledger.placed
    return ComponentStatus(
        id=component.id,
        name=component.name,
        nbytes=component.nbytes,
        dtype=component.dtype,
        residency="device" if on_device else "host",
        owners=tuple(pooled.key for pooled in owners),
        leases=len({reservation for pooled in owners for reservation in pooled.reservations}),
        last_used_s_ago=_ago(max(used, default=None), now),
        eviction_place=eviction_place,
    )


def _ago(then: float | None, now: float) -> float | None:
    return None if then is None else now - then
