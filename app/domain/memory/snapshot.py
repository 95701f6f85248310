"""Snapshots of the ledger, for people and programs."""

from dataclasses import dataclass

from ..models.components import ComponentId, LoadProgress
from ..models.spec import ModelName, Residency
from .budget import Budget
from .ledger import Ledger, PooledModel


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
class ModelStatus:
    """Where a model is now, which requests use it, and its history."""

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
    models: tuple[ModelName, ...]
    """Models that share it."""
    leases: int
    last_used_s_ago: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """A snapshot of the whole ledger."""

    budget: Budget
    stats: PoolStats
    components: tuple[ComponentStatus, ...]
    models: tuple[tuple[ModelName, ModelStatus], ...]
    """Every model that a request has named since the start."""


def pool_stats(ledger: Ledger) -> PoolStats:
    """Sum up a ledger."""
    used, reserved = ledger.usage(), ledger.reserved_nbytes()
    host = used.host_nbytes - (reserved if ledger.shared else 0)
    return PoolStats(
        host_nbytes=host,
        device_nbytes=used.device_nbytes - reserved,
        reserved_nbytes=reserved,
        leases=sum(len(pooled.reservations) for pooled in ledger.all()),
        waiting=len(ledger.queue),
    )


def model_status(ledger: Ledger, name: ModelName, now: float) -> ModelStatus:
    """Describe one model, whether it is in the pool or not."""
    pooled = ledger.pooled_models.get(name)
    if pooled is None:
        return ModelStatus(
            residency="cold", nbytes=0, leases=0, waiting=0, pinned=False, loading=None, last_used_s_ago=None
        )
    return _status(ledger, pooled, now)


def pool_report(ledger: Ledger, now: float) -> PoolReport:
    """Describe the whole ledger."""
    return PoolReport(
        budget=ledger.budget,
        stats=pool_stats(ledger),
        components=tuple(_component(ledger, key, now) for key in ledger.components()),
        models=tuple((name, _status(ledger, pooled, now)) for name, pooled in ledger.pooled_models.items()),
    )


def _status(ledger: Ledger, pooled: PooledModel, now: float) -> ModelStatus:
    record, waiting = pooled.record, ledger.queue.count(pooled)
    return ModelStatus(
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


def _component(ledger: Ledger, key: ComponentId, now: float) -> ComponentStatus:
    component, owners = ledger.components()[key], ledger.owners(key)
    used = [pooled.record.last_used for pooled in owners if pooled.record.last_used is not None]
    on_device = ledger.shared or key in ledger.placed
    return ComponentStatus(
        id=key,
        name=component.name,
        nbytes=component.nbytes,
        dtype=component.dtype,
        residency="device" if on_device else "host",
        models=tuple(pooled.spec.name for pooled in owners),
        leases=sum(len(pooled.reservations) for pooled in owners),
        last_used_s_ago=_ago(max(used, default=None), now),
    )


def _ago(then: float | None, now: float) -> float | None:
    return None if then is None else now - then
