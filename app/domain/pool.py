"""The pool of models: loads each once, lends them out, evicts the least recently used idle ones.

Everything here runs in the event loop's thread, so state changes between two `await`s are atomic. The engine does the
slow work in threads of its own.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from .budget import Budget
from .errors import DiffusionError, InsufficientMemory, LoadFailed, ModelInUse, UnusableModel
from .events import (
    LeaseGranted,
    ModelLoaded,
    ModelLoadFailed,
    ModelOffloaded,
    ModelPlaced,
    ModelUnloaded,
    OnPoolEvent,
    ignore,
)
from .eviction import Resident, plan_eviction
from .model import ModelName, ModelSpec, Residency
from .ports import Catalogue, Engine, LoadedModel, LoadProgress, OnLoad

Found = Literal["hot", "warm", "cold"]
"""Where a request found its model: on the device, in host memory, or on disk."""

_FOUND: dict[Residency, Found] = {"device": "hot", "host": "warm", "cold": "cold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """Where a model is now."""

    residency: Residency
    nbytes: int
    """Bytes of weights in memory; 0 while cold."""
    leases: int
    loading: LoadProgress | None
    last_used_s_ago: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStats:
    """A snapshot of the books."""

    device_nbytes: int
    host_nbytes: int
    reserved_nbytes: int
    """For the activations of leased models."""
    leases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to use a model that is on the device, until the `async with` block ends."""

    spec: ModelSpec
    model: LoadedModel
    found: Found
    load_s: float
    """Seconds spent on loading and bringing the model to the device."""
    wait_s: float
    """Seconds spent waiting for memory that other requests held."""


@dataclass(slots=True)
class _Entry:
    """The books of one version of one model."""

    spec: ModelSpec
    model: LoadedModel | None = None
    on_device: bool = False
    leases: int = 0
    """Requests that hold the model or wait for it."""
    granted: int = 0
    """Requests that hold it, on the device."""
    last_used: float = 0.0
    load: asyncio.Task[LoadedModel] | None = None
    progress: LoadProgress | None = None
    listeners: list[OnLoad] = field(default_factory=list[OnLoad])

    @property
    def residency(self) -> Residency:
        if self.model is None:
            return "cold"
        return "device" if self.on_device else "host"

    @property
    def nbytes(self) -> int:
        return self.model.nbytes if self.model else 0

    @property
    def idle_on_device(self) -> bool:
        return self.on_device and self.granted == 0


class ModelPool:
    """Models in memory, under a budget.

    Always true: bytes on the device plus bytes reserved for activations are within the budget; a leased model is on the
    device or on its way there; a model is loaded once however many wait for it.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        engine: Engine,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_event: OnPoolEvent = ignore,
    ) -> None:
        self._catalogue = catalogue
        self._engine = engine
        self._budget = budget or Budget()
        self._clock = clock
        self._on_event = on_event
        self._entries: dict[ModelName, _Entry] = {}
        self._outdated: list[_Entry] = []
        self._reserved_nbytes = 0
        self._placing = asyncio.Lock()  # asyncio.Lock is fair: first come, first served
        self._released = asyncio.Condition()

    @asynccontextmanager
    async def lease(
        self, name: str, activation_nbytes: int = 0, on_load: OnLoad | None = None
    ) -> AsyncGenerator[Lease]:
        """Lend a model that is on the device, loading it and evicting idle ones as needed.

        Args:
            name: of a catalogue entry.
            activation_nbytes: bytes that the work will need beside the weights; reserved for the length of the lease.
            on_load: hears of the load's progress, if this lease has to wait for one.

        Raises:
            UnknownModel: no such entry.
            UnusableModel: the files cannot be used.
            LoadFailed: loading failed for another reason.
            InsufficientMemory: it would not fit even if the model were alone.
        """
        entry = await self._enter(name)
        granted = False
        try:
            found, begun = _FOUND[entry.residency], self._clock()
            await self._load_once(entry, on_load)
            model, waited = await self._grant(entry, activation_nbytes)
            granted = True
            load_s = self._clock() - begun - waited
            self._on_event(LeaseGranted(model=entry.spec.name, found=found, wait_s=waited, load_s=load_s))
            yield Lease(spec=entry.spec, model=model, found=found, load_s=load_s, wait_s=waited)
        finally:
            if granted:
                entry.granted -= 1
                self._reserved_nbytes -= activation_nbytes
            await self._leave(entry)

    async def load(self, name: str, on_load: OnLoad | None = None) -> Found:
        """Bring a model to the device now, so that the next request finds it there. Returns where it was before."""
        async with self.lease(name, on_load=on_load) as lease:
            return lease.found

    async def unload(self, name: str, *, wait: bool = True) -> bool:
        """Free a model's memory. Returns whether there was anything to free.

        Raises:
            UnknownModel: no such entry.
            ModelInUse: a request holds it and `wait` is False.
        """
        spec = self._catalogue.get(name)
        entry = self._entries.get(spec.name)
        if entry is None:
            return False
        if entry.leases and not wait:
            raise ModelInUse(f"Model {name!r} is in use by {entry.leases} requests. Try again later, or wait for them.")
        async with self._released:
            await self._released.wait_for(lambda: entry.leases == 0)
        if self._entries.get(spec.name) is not entry or entry.model is None:
            return False
        del self._entries[spec.name]
        await self._free(entry, "asked for")
        return True

    async def close(self) -> None:
        """Free everything. Call when no lease is out."""
        for entry in self._all():
            if entry.load is not None:
                entry.load.cancel()
            await self._free(entry, "shutdown")
        self._entries.clear()
        self._outdated.clear()

    def set_budget(self, budget: Budget) -> None:
        """Change the limits; from the next lease on they hold. A model that is out stays where it is."""
        self._budget = budget

    def status(self, name: ModelName) -> ModelStatus:
        """Where a catalogue entry's weights are now."""
        entry = self._entries.get(name)
        if entry is None:
            return ModelStatus(residency="cold", nbytes=0, leases=0, loading=None, last_used_s_ago=None)
        ago = self._clock() - entry.last_used if entry.last_used else None
        return ModelStatus(
            residency=entry.residency,
            nbytes=entry.nbytes,
            leases=entry.leases,
            loading=entry.progress,
            last_used_s_ago=ago,
        )

    def stats(self) -> PoolStats:
        """A snapshot of the books."""
        return PoolStats(
            device_nbytes=self._device_nbytes(),
            host_nbytes=self._host_nbytes(),
            reserved_nbytes=self._reserved_nbytes,
            leases=sum(entry.leases for entry in self._all()),
        )

    def check_integrity(self) -> None:
        """Raise AssertionError if the books are wrong. Cheap; for tests, and for whenever the pool is idle."""
        stats = self.stats()
        limit = self._budget.device_nbytes
        assert limit is None or stats.device_nbytes + stats.reserved_nbytes <= limit, (stats, limit)
        assert stats.reserved_nbytes >= 0, stats
        assert all(0 <= entry.granted <= entry.leases for entry in self._entries.values())
        assert all(entry.leases for entry in self._outdated), "an outdated model without a lease was not freed"
        assert all(entry.model is not None for entry in self._entries.values() if entry.on_device)

    async def _enter(self, name: str) -> _Entry:
        """Take a lease on the current version of a model before anything else can look at it."""
        spec = self._catalogue.get(name)
        if spec.unusable is not None:
            raise UnusableModel(spec.name, spec.unusable)
        entry = self._entries.get(spec.name)
        if entry is not None and entry.spec.version != spec.version:
            await self._retire(entry)
            entry = self._entries.get(spec.name)
        if entry is None:
            entry = self._entries[spec.name] = _Entry(spec)
        entry.leases += 1
        return entry

    async def _leave(self, entry: _Entry) -> None:
        entry.leases -= 1
        entry.last_used = self._clock()
        self._forget_if_empty(entry)
        if entry.leases == 0 and entry in self._outdated:
            self._outdated.remove(entry)
            await self._free(entry, "its files changed")
        async with self._released:
            self._released.notify_all()

    def _forget_if_empty(self, entry: _Entry) -> None:
        if entry.model is None and entry.load is None:
            self._forget_if_unwanted(entry)

    def _forget_if_unwanted(self, entry: _Entry) -> None:
        if entry.leases == 0 and self._entries.get(entry.spec.name) is entry:
            del self._entries[entry.spec.name]

    async def _retire(self, entry: _Entry) -> None:
        """The files changed: those who hold the old version keep it, everybody else gets the new one."""
        del self._entries[entry.spec.name]
        if entry.leases:
            self._outdated.append(entry)
        else:
            await self._free(entry, "its files changed")

    async def _load_once(self, entry: _Entry, on_load: OnLoad | None) -> LoadedModel:
        if entry.model is not None:
            return entry.model
        if on_load is not None:
            entry.listeners.append(on_load)
        if entry.load is None:
            entry.load = asyncio.create_task(self._load(entry), name=f"load {entry.spec.name}")
            entry.load.add_done_callback(_retrieve)
        return await asyncio.shield(entry.load)

    async def _load(self, entry: _Entry) -> LoadedModel:
        def note(progress: LoadProgress) -> None:
            entry.progress = progress
            for listener in entry.listeners:
                listener(progress)

        begun = self._clock()
        name = entry.spec.name
        try:
            await self._make_host_room(entry)
            model = entry.model = await self._engine.load(entry.spec, note)
            entry.last_used = self._clock()
        except DiffusionError as error:
            if isinstance(error, UnusableModel):
                self._catalogue.mark_unusable(name, entry.spec.version, error.reason)
            self._on_event(ModelLoadFailed(model=name, code=error.code, reason=error.message))
            raise
        except Exception as error:
            self._on_event(ModelLoadFailed(model=name, code=LoadFailed.code, reason=repr(error)))
            raise LoadFailed(f"Loading {name!r} failed: {error}. The server's log has the details.") from error
        finally:
            entry.load = entry.progress = None
            entry.listeners.clear()
            self._forget_if_empty(entry)
        self._on_event(ModelLoaded(model=name, nbytes=model.nbytes, seconds=self._clock() - begun))
        if entry.leases == 0 and self._entries.get(name) is not entry:
            await self._free(entry, "its files changed while it was loading")
        return model

    async def _make_host_room(self, entry: _Entry) -> None:
        """Drop idle models from memory until the one that is about to be read fits, or none is idle."""
        limit = self._budget.host_nbytes
        if limit is None or entry.spec.nbytes is None:
            return
        while self._host_nbytes() + entry.spec.nbytes > limit:
            idle = [other for other in self._entries.values() if other.leases == 0 and other.model is not None]
            if not idle:
                return
            oldest = min(idle, key=lambda other: other.last_used)
            del self._entries[oldest.spec.name]
            await self._free(oldest, f"to make room for {entry.spec.name}")

    async def _grant(self, entry: _Entry, activation_nbytes: int) -> tuple[LoadedModel, float]:
        """Bring a model to the device for one lease and reserve its activations, first come, first served.

        Returns:
            The model, and the seconds spent waiting for others.
        """
        begun = self._clock()
        async with self._placing:
            waited = self._clock() - begun
            model = await self._load_once(entry, None)  # it may have had to leave while this lease waited
            missing = activation_nbytes + (0 if entry.on_device else model.nbytes)
            self._refuse_impossible(entry.spec, model.nbytes + activation_nbytes)
            waited += await self._make_room(entry, missing)
            entry.granted += 1
            self._reserved_nbytes += activation_nbytes
            try:
                if not entry.on_device:
                    await self._place(entry, model)
            except BaseException:
                entry.granted -= 1
                self._reserved_nbytes -= activation_nbytes
                raise
            return model, waited

    def _refuse_impossible(self, spec: ModelSpec, nbytes: int) -> None:
        limit = self._budget.device_nbytes
        if limit is not None and nbytes > limit:
            raise InsufficientMemory(
                f"Model {spec.name!r} needs {nbytes / 1e9:.2f} GB for its weights and this image; "
                f"the budget is {limit / 1e9:.2f} GB. Ask for a smaller image, or raise memory.device in the settings.",
                needed_nbytes=nbytes,
                available_nbytes=limit,
            )

    async def _make_room(self, entry: _Entry, missing_nbytes: int) -> float:
        """Evict models one by one until `missing_nbytes` fit; wait where all are in use. Returns the seconds waited.

        The plan is made anew after each step, because a lease may have been granted or returned meanwhile. A model that
        others only wait for may be evicted too, as the last resort: they stand behind this lease in the queue, so
        waiting for them would never end.
        """

        def plan() -> tuple[Resident, ...] | None:
            candidates = [_resident(other) for other in self._all() if other.idle_on_device and other is not entry]
            return plan_eviction(candidates, missing_nbytes - self._free_device_nbytes())

        waited = 0.0
        while (victims := plan()) != ():
            if victims is not None:
                await self._offload(self._entry_of(victims[0]), entry.spec.name)
                continue
            begun = self._clock()
            async with self._released:
                await self._released.wait_for(lambda: plan() is not None)
            waited += self._clock() - begun
        return waited

    async def _place(self, entry: _Entry, model: LoadedModel) -> None:
        begun = self._clock()
        entry.on_device = True  # counted from before the first byte moves
        try:
            await self._engine.place(model)
        except BaseException:
            entry.on_device = False
            raise
        if not self._engine.shares_host_memory:
            self._on_event(
                ModelPlaced(model=entry.spec.name, components=(), nbytes=model.nbytes, seconds=self._clock() - begun)
            )

    async def _offload(self, entry: _Entry, made_room_for: ModelName) -> None:
        assert entry.model is not None
        if self._engine.shares_host_memory:
            self._forget_if_unwanted(entry)
            await self._free(entry, f"to make room for {made_room_for}")
            return
        await self._engine.offload(entry.model)
        entry.on_device = False
        self._on_event(
            ModelOffloaded(
                model=entry.spec.name,
                components=(),
                nbytes=entry.nbytes,
                seconds=0,
                reason=f"to make room for {made_room_for}",
            )
        )

    async def _free(self, entry: _Entry, reason: str) -> None:
        model, entry.model, entry.on_device = entry.model, None, False
        if model is not None:
            nbytes = model.nbytes
            await self._engine.unload(model)
            self._on_event(ModelUnloaded(model=entry.spec.name, nbytes=nbytes, seconds=0, reason=reason))

    def _all(self) -> list[_Entry]:
        return [*self._entries.values(), *self._outdated]

    def _entry_of(self, resident: Resident) -> _Entry:
        return next(
            entry for entry in self._all() if (entry.spec.name, entry.spec.version) == (resident.name, resident.version)
        )

    def _host_nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._all())

    def _device_nbytes(self) -> int:
        return sum(entry.nbytes for entry in self._all() if entry.on_device)

    def _free_device_nbytes(self) -> int:
        limit = self._budget.device_nbytes
        return 2**62 if limit is None else limit - self._device_nbytes() - self._reserved_nbytes


def _resident(entry: _Entry) -> Resident:
    return Resident(
        name=entry.spec.name,
        version=entry.spec.version,
        nbytes=entry.nbytes,
        last_used=entry.last_used,
        wanted=entry.leases > 0,
    )


def _retrieve(load: asyncio.Task[LoadedModel]) -> None:
    """A load whose waiters have all gone away may fail without anybody asking: `on_event` has told of it."""
    if not load.cancelled():
        load.exception()
