"""Snapshots of the pool's books, for people and programs."""

from dataclasses import dataclass

from ..models.components import ComponentId, LoadProgress
from ..models.spec import ModelName, Residency
from .budget import Budget
from .ledger import Books, Entry, Found


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """The sums of the books, in bytes. Where the device's memory is the host's, both sums are the same."""

    host_nbytes: int
    """Weights in host memory, shared ones once."""
    device_nbytes: int
    """Weights on the device, and those promised to moves under way."""
    reserved_nbytes: int
    """For the activations of leased models."""
    leases: int
    waiting: int
    """Requests that wait for memory, or for a model's files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """Where a model is now, who uses it, and what happened to it."""

    residency: Residency
    nbytes: int
    """Bytes of weights in memory, shared ones included; 0 while cold."""
    leases: int
    """Requests that hold it or wait for it."""
    waiting: int
    """Those of them that wait."""
    pinned: bool
    loading: LoadProgress | None
    last_used_s_ago: float | None
    loads: int = 0
    found: tuple[tuple[Found, int], ...] = ()
    """How often a request found it hot, warm or cold."""
    swap_nbytes: int = 0
    swap_s: float = 0.0
    """Of the last time that it came to the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """One component in memory."""

    id: ComponentId
    name: str
    nbytes: int
    dtype: str
    residency: Residency
    models: tuple[ModelName, ...]
    """Those that share it."""
    leases: int
    last_used_s_ago: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolReport:
    """Everything on the books."""

    budget: Budget
    stats: PoolStats
    components: tuple[ComponentStatus, ...]
    models: tuple[tuple[ModelName, ModelStatus], ...]
    """Every model that was asked for since the start."""


def pool_stats(books: Books) -> PoolStats:
    """The sums."""
    used, reserved = books.usage(), books.reserved_nbytes()
    host = used.host_nbytes - (reserved if books.shared else 0)
    return PoolStats(
        host_nbytes=host,
        device_nbytes=used.device_nbytes - reserved,
        reserved_nbytes=reserved,
        leases=sum(len(entry.holds) for entry in books.all()),
        waiting=len(books.queue),
    )


def model_status(books: Books, name: ModelName, now: float) -> ModelStatus:
    """One model, asked for or not."""
    entry = books.entries.get(name)
    if entry is None:
        return ModelStatus(
            residency="cold", nbytes=0, leases=0, waiting=0, pinned=False, loading=None, last_used_s_ago=None
        )
    return _status(books, entry, now)


def pool_report(books: Books, now: float) -> PoolReport:
    """All of it."""
    return PoolReport(
        budget=books.budget,
        stats=pool_stats(books),
        components=tuple(_component(books, key, now) for key in books.components()),
        models=tuple((name, _status(books, entry, now)) for name, entry in books.entries.items()),
    )


def _status(books: Books, entry: Entry, now: float) -> ModelStatus:
    record, waiting = entry.record, books.queue.count(entry)
    return ModelStatus(
        residency=books.residency(entry),
        nbytes=sum({component.id: component.nbytes for component in entry.components}.values()),
        leases=len(entry.holds) + waiting,
        waiting=waiting,
        pinned=record.pinned,
        loading=entry.progress,
        last_used_s_ago=_ago(record.last_used, now),
        loads=record.loads,
        found=tuple(record.found.items()),
        swap_nbytes=record.swap_nbytes,
        swap_s=record.swap_s,
    )


def _component(books: Books, key: ComponentId, now: float) -> ComponentStatus:
    component, owners = books.components()[key], books.owners(key)
    used = [entry.record.last_used for entry in owners if entry.record.last_used is not None]
    on_device = books.shared or key in books.placed
    return ComponentStatus(
        id=key,
        name=component.name,
        nbytes=component.nbytes,
        dtype=component.dtype,
        residency="device" if on_device else "host",
        models=tuple(entry.spec.name for entry in owners),
        leases=sum(len(entry.holds) for entry in owners),
        last_used_s_ago=_ago(max(used, default=None), now),
    )


def _ago(then: float | None, now: float) -> float | None:
    return None if then is None else now - then
