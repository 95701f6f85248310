"""The pool of models: loads each once, lends them out, evicts idle ones to make room.

Everything here runs in the event loop's thread, so state changes between two `await`s are atomic. The engine does the
slow work in threads of its own. `ledger` says what is where, `admission` and `eviction` decide what leaves, `unloading` frees it,
`loading` brings models in; the pool grants reservations, first come first served.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from ..engine import Engine
from ..errors import ModelInUse, UnusableModel
from ..models.catalogue import Catalogue
from ..models.components import Component, ComponentId, LoadedModel, OnLoad
from ..models.spec import ModelName, ModelSpec, Residency
from ..uncancellable import run_to_completion
from .admission import Fits, Offload, Unload, Wait, can_admit, next_step, refuse_impossible
from .budget import Budget
from .events import LeaseGranted, LeaseOverdue, OnPoolEvent, ignore
from .eviction_preview import EvictionPreview, preview_evictions
from .eviction_reason import EvictionCause, EvictionReason
from .ledger import Ledger, PooledModel, Record, Reservation, Tier
from .loading import ModelLoading, OnLoading
from .snapshot import ModelStatus, PoolReport, PoolStats, model_status, pool_report, pool_stats
from .unloading import ModelUnloading


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to use a model that is on the device, until the `async with` block ends."""

    spec: ModelSpec
    model: LoadedModel
    found: Residency
    """Residency of the model when the request took it."""
    load_s: float
    """Seconds spent on loading and bringing the model to the device."""
    wait_s: float
    """Seconds spent waiting for memory that other requests held."""


class ModelPool:
    """Models in memory, under a budget.

    Always true: bytes on each tier plus bytes promised to loads and activations are within the budget; a leased model is
    on the device; a model is loaded once for all that wait for it; bytes that models share count once; every waiting request
    gets a lease or an error.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        engine: Engine,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_event: OnPoolEvent = ignore,
        on_loading: OnLoading = lambda _model, _progress: None,
        overdue_s: float = 900.0,
    ) -> None:
        """Make an empty pool.

        Args:
            catalogue: which models there are.
            engine: loads and runs them.
            budget: memory to use; no limit by default. See `set_budget`.
            clock: seconds, monotonic.
            on_event: receives every event; called in the event loop, must return at once.
            on_loading: receives the progress of loads and downloads; called from other threads.
            overdue_s: seconds after which a lease that is out is reported as forgotten.
        """
        self._catalogue = catalogue
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._overdue_s = overdue_s
        self._ledger = Ledger()
        self._ledger.budget = budget or Budget()
        self._unloading = ModelUnloading(self._ledger, engine.loader, engine.device, clock=clock, on_event=on_event)
        self._loading = ModelLoading(
            self._ledger,
            catalogue,
            engine.loader,
            engine.device,
            clock=clock,
            on_event=on_event,
            on_done=self._unloading.tidy,
            on_loading=on_loading,
        )
        self._claiming = asyncio.Lock()  # asyncio.Lock is fair: first come, first served

    @asynccontextmanager
    async def lease(
        self, name: str, activation_nbytes: int = 0, on_load: OnLoad | None = None, *, together_nbytes: int = 0
    ) -> AsyncGenerator[Lease]:
        """Lend a model that is on the device, loading it and evicting idle ones as needed.

        Args:
            name: of a catalogue entry.
            activation_nbytes: bytes that the work will need beside the weights. They stay free for the length of the
                lease; of leases of several models the largest counts, because a device works for one at a time.
            on_load: receives the progress of the load, if this lease has to wait for one.
            together_nbytes: part of them that adds up with those of other leases of the model, which run at the same time.

        Raises:
            UnknownModel: no such entry.
            UnusableModel: the files cannot be used.
            LoadFailed: loading failed for another reason, now or a few seconds ago.
            InsufficientMemory: it would not fit even if the model were alone.
        """
        async with self._held(name, "device", on_load, activation_nbytes, together_nbytes) as lease:
            overdue = asyncio.get_running_loop().call_later(
                self._overdue_s, self._on_event, LeaseOverdue(model=lease.spec.name, seconds=self._overdue_s)
            )
            try:
                yield lease
            finally:
                overdue.cancel()

    async def load(self, name: str, on_load: OnLoad | None = None, *, tier: Tier = "device") -> Residency:
        """Bring a model to a tier now, so that the next request finds it there. Returns where it was before.

        Raises:
            DiffusionError: as `lease` does.
        """
        async with self._held(name, tier, on_load) as lease:
            return lease.found

    async def fetch(self, name: str, on_load: OnLoad | None = None) -> ModelSpec:
        """Make sure that a model's files are on disk, and return its entry as they describe it.

        Takes no memory, and no time for local files.

        Raises:
            UnknownModel, UnusableModel, DownloadFailed: as `lease` does.
        """
        await self._engine.start()
        pooled = self._enter(name)
        if on_load is not None:
            pooled.listeners.append(on_load)
        try:
            await self._loading.fetch(pooled)
            self._expect(pooled)
            return pooled.spec
        finally:
            if on_load is not None and on_load in pooled.listeners:
                pooled.listeners.remove(on_load)

    def set_lookahead(self, models: Sequence[ModelName]) -> None:
        """Set the models that requests will ask for after those that wait here already, the next one first.

        They are evicted last; see `eviction`.
        """
        self._ledger.lookahead = list(models)

    def can_admit(self, name: ModelName, activation_nbytes: int = 0, together_nbytes: int = 0) -> bool:
        """Tell whether a lease would be granted now without evicting a model that a request waits for."""
        pooled = self._ledger.pooled_models.get(name)
        if pooled is None or not (pooled.expected or pooled.model):
            return False  # its size is not known
        return can_admit(self._ledger, Reservation(pooled, "device", activation_nbytes, together_nbytes))

    def preview_evictions(self, name: str, activation_nbytes: int = 0, *, together_nbytes: int = 0) -> EvictionPreview:
        """Tell what a lease would find and evict now. Changes nothing; call after the engine has started.

        Raises:
            DiffusionError: as `lease` does.
        """
        spec = self._catalogue.get(name)
        self._ledger.use_device(self._engine.device)
        return preview_evictions(
            self._ledger,
            spec,
            self._guess(spec),
            self._clock(),
            activation_nbytes=activation_nbytes,
            together_nbytes=together_nbytes,
        )

    async def unload(self, name: str, *, wait: bool = True) -> bool:
        """Free a model's memory on all tiers. Returns whether there was anything to free.

        Raises:
            UnknownModel: no such entry.
            ModelInUse: requests hold or await it, and `wait` is False.
        """
        spec = self._catalogue.get(name)
        pooled = self._ledger.pooled_models.get(spec.name)
        if pooled is None:
            return False
        in_use = len(pooled.reservations) + self._ledger.queue.count(pooled)
        if in_use and not wait:
            raise ModelInUse(f"Model {spec.name!r} is in use by {in_use} requests. Try again later, or wait for them.")
        while pooled.busy or pooled in self._ledger.queue:
            await self._unloading.change()
        if pooled.model is None:
            return False
        await run_to_completion(self._unloading.unloading(pooled, EvictionReason(cause=EvictionCause.ASKED)))
        return True

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Never evict a model once it is in memory, or allow it again. Unloading by hand stays possible.

        Raises:
            UnknownModel: no such entry.
        """
        self._pooled(self._catalogue.get(name)).record.pinned = pinned
        self._unloading.tidy()

    async def drop_idle(self) -> int:
        """Free the device memory that no lease or pin holds. Returns the bytes freed."""
        return await self._unloading.drop_idle()

    async def unload_idle(self, idle_s: float) -> None:
        """Free the models that no request has used for `idle_s` seconds, except pinned ones."""
        await self._unloading.unload_idle(idle_s)

    def set_budget(self, budget: Budget) -> None:
        """Change the limits. What no longer fits leaves as soon as no request holds it."""
        self._ledger.budget = budget
        self._ledger.use_device(self._engine.device)
        self._unloading.tidy()

    async def close(self) -> None:
        """Free everything. Call when no lease is out."""
        for pooled in self._ledger.all():
            for task in tuple(pooled.work.values()):
                task.cancel()
        await self._unloading.cleaned()
        for pooled in self._ledger.all():
            while pooled.leaving:
                await self._unloading.change()
            if pooled.model is not None:
                await self._unloading.unloading(pooled, EvictionReason(cause=EvictionCause.SHUTDOWN))
        self._ledger.pooled_models.clear()
        self._ledger.outdated_versions.clear()

    def status(self, name: ModelName) -> ModelStatus:
        """Tell where the weights of a catalogue entry are now, and which requests use them."""
        return model_status(self._ledger, name, self._clock())

    def stats(self) -> PoolStats:
        """Sum up the ledger."""
        return pool_stats(self._ledger)

    def report(self) -> PoolReport:
        """Take a snapshot of the ledger: budgets, every component, every model."""
        return pool_report(self._ledger, self._clock())

    def check_integrity(self) -> None:
        """Raise AssertionError if the ledger contradicts itself. Cheap; for tests, and while the pool is idle."""
        ledger = self._ledger
        used, limit = ledger.usage(), ledger.limits()
        host_excess = used.host_nbytes > limit.host_nbytes and ledger.idle_on_host(None)
        device_excess = used.device_nbytes > limit.device_nbytes and ledger.idle_on_device(None)
        settling = self._unloading.cleaning or any(pooled.work for pooled in ledger.all())
        message = f"{used} exceeds {limit} while something idle could leave"
        assert settling or not (host_excess or device_excess), message
        assert ledger.placed <= ledger.components().keys() | ledger.dropping, "a device copy without a model"
        assert all(reservation.pooled is pooled for pooled in ledger.all() for reservation in pooled.reservations)
        for pooled in ledger.outdated_versions:
            waited_for = pooled.busy or pooled in ledger.queue or self._unloading.cleaning
            assert waited_for, "an outdated model that no request uses was not freed"

    @asynccontextmanager
    async def _held(
        self, name: str, tier: Tier, on_load: OnLoad | None, activation_nbytes: int = 0, together_nbytes: int = 0
    ) -> AsyncGenerator[Lease]:
        await self._engine.start()
        self._ledger.use_device(self._engine.device)
        pooled = self._enter(name)
        reservation = Reservation(pooled, tier, activation_nbytes, together_nbytes)
        self._ledger.queue.append(pooled)
        if on_load is not None and pooled.model is None:
            pooled.listeners.append(on_load)
        try:
            begun, found = self._clock(), self._ledger.residency(pooled)
            try:
                await self._loading.fetch(pooled)
                wait_s = await self._claim(reservation)
            finally:
                self._ledger.queue.remove(pooled)
            await self._loading.bring(pooled, tier, self._unloading.drop_idle)
            load_s = self._clock() - begun - wait_s
            pooled.record.found[found] = pooled.record.found.get(found, 0) + 1
            self._on_event(LeaseGranted(model=pooled.spec.name, found=found, wait_s=wait_s, load_s=load_s))
            assert pooled.model is not None
            yield Lease(spec=pooled.spec, model=pooled.model, found=found, load_s=load_s, wait_s=wait_s)
        finally:
            self._release(reservation, on_load)

    def _enter(self, name: str) -> PooledModel:
        """Get the current version of a model, unless it is known to fail."""
        spec = self._catalogue.get(name)
        if spec.unusable is not None:
            raise UnusableModel(spec.name, spec.unusable)
        pooled = self._pooled(spec)
        if pooled.failure is not None:
            if self._clock() < pooled.failure.until:
                raise pooled.failure.error.with_traceback(None)
            pooled.failure = None
        return pooled

    def _pooled(self, spec: ModelSpec) -> PooledModel:
        pooled = self._ledger.pooled_models.get(spec.name)
        if pooled is None:
            pooled = self._ledger.pooled_models[spec.name] = PooledModel(spec, Record())
        elif pooled.spec.version != spec.version:
            self._ledger.outdated_versions.append(pooled)  # requests that hold or await this version keep it
            pooled = self._ledger.pooled_models[spec.name] = PooledModel(spec, pooled.record)
            self._unloading.tidy()
        return pooled

    async def _claim(self, reservation: Reservation) -> float:
        """Reserve the bytes that a model and its activations need, first come, first served.

        Returns:
            Seconds spent waiting for other requests.
        """
        begun = self._clock()
        waited = 0.0
        async with self._claiming:
            waited += self._clock() - begun
            while True:
                self._expect(reservation.pooled)
                refuse_impossible(self._ledger, reservation)
                step = await self._step_towards_room(reservation)
                if step == "room":
                    reservation.pooled.reservations.append(reservation)
                    return waited
                if step == "wait":
                    begun = self._clock()
                    await self._unloading.change()
                    waited += self._clock() - begun

    def _expect(self, pooled: PooledModel) -> None:
        if not pooled.expected:
            pooled.expected = (self._guess(pooled.spec),)

    def _guess(self, spec: ModelSpec) -> Component:
        """Stand in for the components of a model that was never loaded: only its size is known, not what it shares."""
        key = ComponentId(f"{spec.name}@{spec.version}")
        return Component(id=key, name="weights", nbytes=self._engine.loader.weights_nbytes(spec), dtype="")

    async def _step_towards_room(self, reservation: Reservation) -> Literal["room", "evicted", "wait"]:
        """Evict once, if that helps a reservation; tell whether it fits now, or whether others must give memory back.

        The decision is made anew after each step, because a lease may have been granted or returned during the eviction.
        """
        reason = EvictionReason(cause=EvictionCause.ROOM, for_model=reservation.pooled.spec.name)
        match next_step(self._ledger, reservation):
            case Fits():
                return "room"
            case Wait():
                return "wait"
            case Unload(pooled=victim):
                await run_to_completion(
                    self._unloading.unloading(victim, reason, reuse=reservation.pooled.model is None)
                )
            case Offload(copies=copies):
                await run_to_completion(self._unloading.offloading(copies, reason))
        return "evicted"

    def _release(self, reservation: Reservation, on_load: OnLoad | None) -> None:
        pooled = reservation.pooled
        with suppress(ValueError):
            pooled.reservations.remove(reservation)
            pooled.record.last_used = self._clock()
        if on_load is not None:
            with suppress(ValueError):
                pooled.listeners.remove(on_load)
        self._unloading.tidy()
