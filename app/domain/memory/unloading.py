"""Frees memory: drops device copies, unloads assets from the host, and wakes requests that wait for memory."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ..engine import Device, ModelLoader
from ..models.assets import AssetKey
from ..models.components import Component, ComponentId, LoadedModel
from ..uncancellable import run_to_completion
from .events import AssetOffloaded, AssetUnloaded, OnPoolEvent
from .eviction.eviction import Idle
from .eviction.eviction_reason import EvictionCause, EvictionReason
from .host_tier import HostTier
from .ledger import Ledger, PooledAsset


class AssetUnloading:
    """Frees idle assets and copies only. They leave the ledger before the first `await`, so that no request can lease them."""

    def __init__(
        self,
        ledger: Ledger,
        loader: ModelLoader,
        device: Device,
        host: HostTier,
        *,
        clock: Callable[[], float],
        on_event: OnPoolEvent,
    ) -> None:
        self._ledger = ledger
        self._loader = loader
        self._device = device
        self._clock = clock
        self._on_event = on_event
        self._host = host
        self._cleaning: set[asyncio.Task[None]] = set()

    @property
    def cleaning(self) -> bool:
        """Whether memory is being freed in the background."""
        return bool(self._cleaning)

    async def change(self) -> None:
        """Wait until memory was given back, or an asset was loaded or unpinned."""
        await self._host.change()

    async def cleaned(self) -> None:
        """Wait until no memory is being freed in the background."""
        while self._cleaning:
            await asyncio.wait(self._cleaning)

    async def drop_idle(self) -> int:
        """Free the device memory that no lease or pin holds. Returns the bytes freed."""
        if not self._ledger.shared:
            return await run_to_completion(
                self.offloading(self._ledger.idle_on_device(), EvictionReason(cause=EvictionCause.OUT_OF_MEMORY))
            )
        freed = 0
        while idle := self._ledger.idle_on_host():
            freed += await run_to_completion(
                self.unloading(idle[0][1], EvictionReason(cause=EvictionCause.OUT_OF_MEMORY))
            )
        return freed

    async def unload_idle(self, idle_s: float) -> None:
        """Free the assets that no request has used for `idle_s` seconds."""
        while (pooled := self._unused_for(idle_s)) is not None:
            await run_to_completion(self.unloading(pooled, EvictionReason(cause=EvictionCause.UNUSED, idle_s=idle_s)))

    def _unused_for(self, idle_s: float) -> PooledAsset | None:
        """Find one idle asset. The search begins anew after each unload: during it another may have been freed or leased."""
        now = self._clock()
        idle = self._ledger.idle_on_host()
        return next(
            (pooled for asset, pooled in idle if asset.wanted is None and now - asset.last_used >= idle_s), None
        )

    def offloading(self, victims: Sequence[Idle], reason: EvictionReason) -> Coroutine[Any, Any, int]:
        """Take device copies off the ledger now; the returned coroutine ends once their bytes are free."""
        known = self._ledger.components()
        going = {key: known[key] for key in (ComponentId(victim.key) for victim in victims)}
        having = self._ledger.owners()
        owners = {key: having[key][0].key for key in going}
        # Off the ledger before the first await: a lease that comes during the drop must not find these copies. Their bytes still
        # count, as `dropping`, until the device has let go of them.
        self._ledger.placed.difference_update(going)
        self._ledger.dropping.update(going)
        return self._offload(going, owners, reason)

    async def _offload(
        self, going: Mapping[ComponentId, Component], owners: Mapping[ComponentId, AssetKey], reason: EvictionReason
    ) -> int:
        if not going:
            return 0
        begun = self._clock()
        await self._device.offload(tuple(going))
        self._ledger.dropping.difference_update(going)
        for asset in dict.fromkeys(owners.values()):
            own = [component for key, component in going.items() if owners[key] == asset]
            self._on_event(
                AssetOffloaded(
                    asset=asset,
                    components=tuple(component.name for component in own),
                    nbytes=sum(component.nbytes for component in own),
                    seconds=self._clock() - begun,
                    reason=reason,
                    device=self._ledger.label,
                )
            )
        self._note_change()
        return sum(component.nbytes for component in going.values())

    def unloading(
        self, pooled: PooledAsset, reason: EvictionReason, *, reuse: bool = False
    ) -> Coroutine[Any, Any, int]:
        """Forbid the use of an idle asset now; the returned coroutine ends once its bytes are free."""
        assert pooled.loaded is not None
        assert not pooled.leaving
        # From here on no lease is granted, although the asset is in memory until the engine has freed it.
        pooled.leaving = True
        return self._unload(pooled, pooled.loaded, reason, reuse=reuse)

    async def _unload(self, pooled: PooledAsset, loaded: LoadedModel, reason: EvictionReason, *, reuse: bool) -> int:
        ledger, begun, before = self._ledger, self._clock(), self._ledger.usage().host_nbytes
        await self._loader.unload(loaded, reuse=reuse)
        pooled.loaded, pooled.leaving = None, False
        ledger.forget_freed()
        freed = max(0, before - ledger.usage().host_nbytes)
        self._on_event(AssetUnloaded(asset=pooled.key, nbytes=freed, seconds=self._clock() - begun, reason=reason))
        self.tidy()
        return freed

    def tidy(self) -> None:
        """Wake requests that wait for memory, and free assets that no request may use any more."""
        self._note_change()
        if not self._cleaning and (self._unused_outdated() or self._excess()):
            task = asyncio.get_running_loop().create_task(self._clean(), name="clean up the pool")
            self._cleaning.add(task)
            task.add_done_callback(self._cleaned)

    def _cleaned(self, task: asyncio.Task[None]) -> None:
        self._cleaning.discard(task)
        if not task.cancelled() and task.exception() is None:
            self.tidy()  # an asset may have become idle after the last look

    async def _clean(self) -> None:
        """Free old versions that no request uses, and idle assets that exceed a lowered budget."""
        while (old := self._unused_outdated()) is not None:
            if old.loaded is not None:
                await self.unloading(old, EvictionReason(cause=EvictionCause.CHANGED))
            self._ledger.outdated_versions.remove(old)
        while (excess := self._excess()) is not None:
            await self._evicting(excess, EvictionReason(cause=EvictionCause.BUDGET))

    def _unused_outdated(self) -> PooledAsset | None:
        ledger = self._ledger
        return next((pooled for pooled in ledger.outdated_versions if ledger.outdated(pooled)), None)

    def _excess(self) -> PooledAsset | Idle | None:
        """Choose what leaves next, if the budget is exceeded and an idle asset or copy could leave."""
        ledger = self._ledger
        used, limits = ledger.usage(), ledger.limits()
        if used.host_nbytes > limits.host_nbytes and (idle := ledger.idle_on_host()):
            return min(idle, key=lambda pair: (pair[0].wanted is not None, pair[0].last_used))[1]
        if used.device_nbytes > limits.device_nbytes and (copies := ledger.idle_on_device()):
            return min(copies, key=lambda copy: (copy.wanted is not None, copy.last_used))
        return None

    def _evicting(self, victim: PooledAsset | Idle, reason: EvictionReason) -> Coroutine[Any, Any, int]:
        return self.unloading(victim, reason) if isinstance(victim, PooledAsset) else self.offloading([victim], reason)

    def _note_change(self) -> None:
        self._host.note_change()
