"""The pool of models, adapters and VAEs of a device: loads each once, lends sets of them out, evicts idle ones to make room.

Everything here runs in the event loop's thread, so state changes between two `await`s are atomic. The engine does the
slow work in threads of its own. `ledger` says what is where, `admission` and `eviction` decide what leaves, `unloading` frees
it, `claiming` grants reservations, first come first served, `loading` brings in what they hold.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from ..engine import Engine
from ..errors import ModelInUse
from ..models.assets import AssetKey, AssetSet, AssetSpec, key_of, unusable
from ..models.catalogue import Catalogues
from ..models.components import OnLoad
from ..models.spec import ModelName, ModelSpec, Residency
from ..uncancellable import run_to_completion
from .admission import can_admit
from .budget import Budget
from .claiming import AssetClaiming
from .events import LeaseGranted, LeaseOverdue, OnPoolEvent, ignore
from .eviction.eviction_preview import EvictionPreview, preview_evictions
from .eviction.eviction_reason import EvictionCause, EvictionReason
from .host_tier import HostTier
from .lease import Held, Lease
from .ledger import PooledAsset, Record, Reservation, Tier
from .loading import AssetLoading, OnLoading
from .snapshot import AssetStatus, PoolReport, PoolStats, asset_status, pool_report, pool_stats
from .unloading import AssetUnloading


class DevicePool:
    """Models, and what is added to them, in host memory and on one device, under a budget.

    The pools of a machine's devices share what is in host memory; each has its own copies on its device, and its own leases.

    Always true: bytes on each tier plus bytes promised to loads and activations are within the budget; all of a leased set is
    on the device; an asset is loaded once for all that wait for it; bytes that assets share count once; every waiting request
    gets a lease or an error.
    """

    def __init__(
        self,
        catalogues: Catalogues,
        engine: Engine,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_event: OnPoolEvent = ignore,
        on_loading: OnLoading = lambda _asset, _progress: None,
        overdue_s: float = 900.0,
        host: HostTier | None = None,
    ) -> None:
        """Make an empty pool.

        Args:
            catalogues: which assets there are.
            engine: loads and runs them.
            budget: memory to use; no limit by default. See `set_budget`.
            clock: seconds, monotonic.
            on_event: receives every event; called in the event loop, must return at once.
            on_loading: receives the progress of loads and downloads; called from other threads.
            overdue_s: seconds after which a lease that is out is reported as forgotten.
            host: what it shares with the pools of the machine's other devices; nothing by default.
        """
        self._catalogues = catalogues
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._overdue_s = overdue_s
        host = host or HostTier()
        self._ledger = host.new_ledger()
        self._ledger.budget = budget or Budget()
        self._unloading = AssetUnloading(
            self._ledger, engine.loader, engine.device, host, clock=clock, on_event=on_event
        )
        self._loading = AssetLoading(
            self._ledger,
            catalogues,
            engine.loader,
            engine.device,
            clock=clock,
            on_event=on_event,
            on_done=self._unloading.tidy,
            on_loading=on_loading,
        )
        self._claiming = AssetClaiming(self._ledger, engine.loader, self._unloading, host, clock=clock)

    @asynccontextmanager
    async def lease(
        self,
        name: str,
        activation_nbytes: int = 0,
        on_load: OnLoad | None = None,
        *,
        together_nbytes: int = 0,
        beside: Sequence[AssetKey] = (),
        on_claimed: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Lease]:
        """Lend a model and what is added to it, on the device, loading them and evicting idle ones as needed.

        Args:
            name: of a catalogue entry.
            activation_nbytes: bytes that the work will need beside the weights. They stay free for the length of the
                lease; of leases of several models the largest counts, because a device works for one at a time.
            on_load: receives the progress of the loads, if this lease has to wait for some.
            together_nbytes: part of them that adds up with those of other leases of the model, which run at the same time.
            beside: adapters and VAEs.
            on_claimed: called when the memory is reserved; from then on it waits for its model alone.

        Raises:
            UnknownAsset: no such entry.
            UnusableAsset: the files cannot be used.
            LoadFailed: loading failed for another reason, now or a few seconds ago.
            InsufficientMemory: it would not fit even if these assets were alone.
        """
        keys = (AssetKey("model", name), *beside)
        async with self._held(keys, "device", on_load, activation_nbytes, together_nbytes, on_claimed) as held:
            lease = held.lease()
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
        async with self._held((AssetKey("model", name),), tier, on_load) as held:
            return held.found

    async def fetch(self, name: str, on_load: OnLoad | None = None) -> ModelSpec:
        """Make sure that a model's files are on disk, and return its entry as they describe it.

        Takes no memory, and no time for local files.

        Raises:
            UnknownModel, UnusableModel, DownloadFailed: as `lease` does.
        """
        await self._engine.start()
        pooled = self._enter(AssetKey("model", name))
        if on_load is not None:
            pooled.listeners.append(on_load)
        try:
            await self._loading.fetch(pooled)
            self._claiming.expect(pooled)
            assert isinstance(pooled.spec, ModelSpec)
            return pooled.spec
        finally:
            if on_load is not None and on_load in pooled.listeners:
                pooled.listeners.remove(on_load)

    def set_lookahead(self, sets: Sequence[AssetSet]) -> None:
        """Set what requests will ask for after those that wait here already, the next one first.

        It is evicted last; see `eviction`.
        """
        lookahead: dict[AssetKey, int] = {}
        for position, assets in enumerate(sets):
            for key in (AssetKey("model", assets.model), *assets.beside):
                lookahead.setdefault(key, position)
        self._ledger.lookahead = lookahead

    def can_admit(
        self, name: str, activation_nbytes: int = 0, together_nbytes: int = 0, beside: Sequence[AssetKey] = ()
    ) -> bool:
        """Tell whether a lease would be granted now without evicting an asset that a request waits for."""
        model = self._ledger.current.get(AssetKey("model", name))
        if model is None or not (model.expected or model.loaded):
            return False  # its size is not known
        reservation = Reservation(
            (model, *(self._imagined(key) for key in beside)),
            "device",
            activation_nbytes,
            together_nbytes,
            self._ledger.device,
        )
        return can_admit(self._ledger, reservation)

    def _imagined(self, key: AssetKey) -> PooledAsset:
        """Get an asset as it is in the pool, or would be."""
        pooled = self._ledger.current.get(key)
        if pooled is not None and (pooled.expected or pooled.loaded):
            return pooled
        spec = self._catalogues.get(key)
        return PooledAsset(spec, Record(), expected=self._claiming.guess(spec))

    def expected_nbytes(self, key: AssetKey) -> int:
        """Return the bytes of an asset's weights, in memory or as they are expected there. Call after the engine has started."""
        pooled = self._imagined(key)
        parts = pooled.components or pooled.expected
        return sum({part.id: part.nbytes for part in parts}.values())

    def preview_evictions(
        self, name: str, activation_nbytes: int = 0, *, together_nbytes: int = 0, beside: Sequence[AssetKey] = ()
    ) -> EvictionPreview:
        """Tell what a lease for the device would find and evict if it were taken now. Changes nothing.

        Call it after the engine has started. `lease` explains the arguments and errors.
        """
        self._ledger.use_device(self._engine.device)
        specs = [self._catalogues.get(key) for key in (AssetKey("model", name), *beside)]
        return preview_evictions(
            self._ledger,
            [(spec, self._claiming.guess(spec)) for spec in specs],
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
        return await self.unload_asset(AssetKey("model", name), wait=wait)

    async def unload_asset(self, key: AssetKey, *, wait: bool = True) -> bool:
        """Free an asset's memory on all tiers. Returns whether there was anything to free.

        Raises:
            UnknownAsset: no such entry.
            ModelInUse: requests hold or await it, and `wait` is False.
        """
        key = key_of(self._catalogues.get(key))
        pooled = self._ledger.current.get(key)
        if pooled is None:
            return False
        in_use = len(pooled.reservations) + self._ledger.waiting(pooled)
        if in_use and not wait:
            title = str(key)
            raise ModelInUse(
                f"{title[0].upper()}{title[1:]} is in use by {in_use} requests. Try again later, or wait for them."
            )
        while pooled.busy or self._ledger.waiting(pooled):
            await self._unloading.change()
        if pooled.loaded is None:
            return False
        await run_to_completion(self._unloading.unloading(pooled, EvictionReason(cause=EvictionCause.ASKED)))
        return True

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Never evict a model once it is in memory, or allow it again. Unloading by hand stays possible.

        Raises:
            UnknownModel: no such entry.
        """
        self._pooled(self._catalogues.get(AssetKey("model", name))).record.pinned = pinned
        self._unloading.tidy()

    async def drop_idle(self) -> int:
        """Free the device memory that no lease or pin holds. Returns the bytes freed."""
        return await self._unloading.drop_idle()

    async def unload_idle(self, idle_s: float) -> None:
        """Free the assets that no request has used for `idle_s` seconds, except pinned ones."""
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
            if pooled.loaded is not None:
                await self._unloading.unloading(pooled, EvictionReason(cause=EvictionCause.SHUTDOWN))
        self._ledger.current.clear()
        self._ledger.outdated_versions.clear()

    def status(self, name: ModelName) -> AssetStatus:
        """Tell where the weights of a model are now, and which requests use them."""
        return self.asset_status(AssetKey("model", name))

    def residency(self, key: AssetKey) -> Residency:
        """Tell where the weights of a catalogue entry are now."""
        pooled = self._ledger.current.get(key)
        return "cold" if pooled is None else self._ledger.residency(pooled)

    def asset_status(self, key: AssetKey) -> AssetStatus:
        """Tell where the weights of a catalogue entry are now, and which requests use them."""
        return asset_status(self._ledger, key, self._clock())

    def stats(self) -> PoolStats:
        """Sum up the ledger."""
        return pool_stats(self._ledger)

    def report(self) -> PoolReport:
        """Take a snapshot of the ledger: budgets, every component, every asset."""
        return pool_report(self._ledger, self._clock())

    def check_integrity(self) -> None:
        """Raise AssertionError if the ledger contradicts itself. Cheap; for tests, and while the pool is idle."""
        ledger = self._ledger
        used, limit = ledger.usage(), ledger.limits()
        host_excess = used.host_nbytes > limit.host_nbytes and ledger.idle_on_host()
        device_excess = used.device_nbytes > limit.device_nbytes and ledger.idle_on_device()
        settling = self._unloading.cleaning or any(pooled.work for pooled in ledger.all())
        message = f"{used} exceeds {limit} while something idle could leave"
        assert settling or not (host_excess or device_excess), message
        assert ledger.placed <= ledger.components().keys() | ledger.dropping, "a device copy without an owner"
        assert all(pooled in reservation.assets for pooled in ledger.all() for reservation in pooled.reservations)
        assert all(
            reservation in pooled.reservations for reservation in ledger.reservations() for pooled in reservation.assets
        ), "a reservation holds a part of its assets only"
        for pooled in ledger.outdated_versions:
            waited_for = pooled.busy or ledger.waiting(pooled) or self._unloading.cleaning
            assert waited_for, "an outdated version that no request uses was not freed"

    @asynccontextmanager
    async def _held(
        self,
        keys: Sequence[AssetKey],
        tier: Tier,
        on_load: OnLoad | None,
        activation_nbytes: int = 0,
        together_nbytes: int = 0,
        on_claimed: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Held]:
        await self._engine.start()
        self._ledger.use_device(self._engine.device)
        # Every entry is looked up before the first one is entered, so that an unknown one leaves no trace.
        specs = {key_of(spec): spec for spec in map(self._catalogues.get, keys)}
        assets = tuple(map(self._entered, specs.values()))
        reservation = Reservation(assets, tier, activation_nbytes, together_nbytes, self._ledger.device)
        self._ledger.queue.append(reservation)
        self._listen(reservation, on_load)
        try:
            begun, found = self._clock(), self._ledger.residency(reservation.lead)
            try:
                await self._loading.fetch(reservation.lead)
                wait_s = await self._claiming.claim(reservation)
                on_claimed()
            finally:
                self._ledger.queue.remove(reservation)
            for pooled in reservation.assets:
                await self._loading.bring(pooled, tier, self._unloading.drop_idle)
            load_s = self._clock() - begun - wait_s
            self._granted(reservation, found, wait_s, load_s)
            yield Held(reservation.assets, found=found, load_s=load_s, wait_s=wait_s)
        finally:
            self._release(reservation, on_load)

    @staticmethod
    def _listen(reservation: Reservation, on_load: OnLoad | None) -> None:
        if on_load is None:
            return
        for pooled in reservation.assets:
            if pooled.loaded is None:
                pooled.listeners.append(on_load)

    def _granted(self, reservation: Reservation, found: Residency, wait_s: float, load_s: float) -> None:
        lead = reservation.lead
        lead.record.found[found] = lead.record.found.get(found, 0) + 1
        model = ModelName(lead.spec.name)
        self._on_event(LeaseGranted(model=model, found=found, wait_s=wait_s, load_s=load_s, device=self._ledger.label))

    def _enter(self, key: AssetKey) -> PooledAsset:
        """Get the current version of an asset, unless it is known to fail."""
        return self._entered(self._catalogues.get(key))

    def _entered(self, spec: AssetSpec) -> PooledAsset:
        if spec.unusable is not None:
            raise unusable(key_of(spec), spec.unusable)
        pooled = self._pooled(spec)
        if pooled.failure is not None:
            if self._clock() < pooled.failure.until:
                raise pooled.failure.error.with_traceback(None)
            pooled.failure = None
        return pooled

    def _pooled(self, spec: AssetSpec) -> PooledAsset:
        key = key_of(spec)
        pooled = self._ledger.current.get(key)
        if pooled is None:
            pooled = self._ledger.current[key] = PooledAsset(spec, Record())
        elif pooled.spec.version != spec.version:
            self._ledger.outdated_versions.append(pooled)  # requests that hold or await this version keep it
            pooled = self._ledger.current[key] = PooledAsset(spec, pooled.record)
            self._unloading.tidy()
        return pooled

    def _release(self, reservation: Reservation, on_load: OnLoad | None) -> None:
        for pooled in reservation.assets:
            with suppress(ValueError):
                pooled.reservations.remove(reservation)
                pooled.record.last_used = self._clock()
            if on_load is not None:
                with suppress(ValueError):
                    pooled.listeners.remove(on_load)
        self._unloading.tidy()
