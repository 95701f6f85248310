"""Sees models off: drops device copies, frees host memory, and tells those who wait that there is room."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ..engine import Device, ModelLoader
from ..models.components import Component, ComponentId, LoadedModel
from ..models.spec import ModelName
from ..uncancellable import run_to_completion
from .events import ModelOffloaded, ModelUnloaded, OnPoolEvent
from .eviction import Idle
from .ledger import Ledger, PooledModel


class ModelUnloading:
    """Takes idle things only. What leaves is struck from the books before the first `await`, so nobody can take it up again."""

    def __init__(
        self,
        ledger: Ledger,
        loader: ModelLoader,
        device: Device,
        *,
        clock: Callable[[], float],
        on_event: OnPoolEvent,
    ) -> None:
        self._ledger = ledger
        self._loader = loader
        self._device = device
        self._clock = clock
        self._on_event = on_event
        self._changed = asyncio.Event()
        self._cleaning: set[asyncio.Task[None]] = set()

    @property
    def cleaning(self) -> bool:
        """Whether something is being freed in the background."""
        return bool(self._cleaning)

    async def change(self) -> None:
        """Wait until something was given back, freed, loaded or unpinned."""
        await self._changed.wait()

    async def cleaned(self) -> None:
        """Wait for what is being freed in the background."""
        while self._cleaning:
            await asyncio.wait(self._cleaning)

    async def drop_idle(self) -> int:
        """Free what device memory can be freed without touching a lease or a pin. Returns the bytes freed."""
        if not self._ledger.shared:
            return await run_to_completion(
                self.offloading(self._ledger.idle_on_device(None), "the device ran out of memory")
            )
        freed = 0
        while idle := self._ledger.idle_on_host(None):
            freed += await run_to_completion(self.unloading(idle[0][1], "memory ran out"))
        return freed

    async def unload_idle(self, idle_s: float) -> None:
        """Free the models that nobody has used for so many seconds."""
        while (pooled := self._unused_for(idle_s)) is not None:
            await run_to_completion(self.unloading(pooled, f"unused for {idle_s:.0f} s"))

    def _unused_for(self, idle_s: float) -> PooledModel | None:
        """Looked for anew after each that has left: meanwhile another may have been freed by somebody, or be in use again."""
        now = self._clock()
        idle = self._ledger.idle_on_host(None)
        return next(
            (pooled for model, pooled in idle if model.wanted is None and now - model.last_used >= idle_s), None
        )

    def offloading(self, victims: Sequence[Idle], reason: str) -> Coroutine[Any, Any, int]:
        """Strike device copies from the books now; await what is returned until their bytes are free."""
        known = self._ledger.components()
        going = {key: known[key] for key in (ComponentId(victim.key) for victim in victims)}
        owners = {key: self._ledger.owners(key)[0].spec.name for key in going}
        self._ledger.placed.difference_update(going)
        self._ledger.dropping.update(going)
        return self._offload(going, owners, reason)

    async def _offload(
        self, going: Mapping[ComponentId, Component], owners: Mapping[ComponentId, ModelName], reason: str
    ) -> int:
        if not going:
            return 0
        begun = self._clock()
        await self._device.offload(tuple(going))
        self._ledger.dropping.difference_update(going)
        for model in dict.fromkeys(owners.values()):
            own = [component for key, component in going.items() if owners[key] == model]
            self._on_event(
                ModelOffloaded(
                    model=model,
                    components=tuple(component.name for component in own),
                    nbytes=sum(component.nbytes for component in own),
                    seconds=self._clock() - begun,
                    reason=reason,
                )
            )
        self._note_change()
        return sum(component.nbytes for component in going.values())

    def unloading(self, pooled: PooledModel, reason: str, *, reuse: bool = False) -> Coroutine[Any, Any, int]:
        """Forbid the use of an idle model now; await what is returned until its bytes are free."""
        assert pooled.model is not None
        assert not pooled.leaving
        pooled.leaving = True
        return self._unload(pooled, pooled.model, reason, reuse=reuse)

    async def _unload(self, pooled: PooledModel, model: LoadedModel, reason: str, *, reuse: bool) -> int:
        ledger, begun, before = self._ledger, self._clock(), self._ledger.usage().host_nbytes
        await self._loader.unload(model, reuse=reuse)
        pooled.model, pooled.leaving = None, False
        ledger.forget_freed()
        freed = max(0, before - ledger.usage().host_nbytes)
        self._on_event(
            ModelUnloaded(model=pooled.spec.name, nbytes=freed, seconds=self._clock() - begun, reason=reason)
        )
        self.tidy()
        return freed

    def tidy(self) -> None:
        """Something was given back: wake those who wait, and free what nobody may use any more."""
        self._note_change()
        if not self._cleaning and (self._unused_outdated() or self._excess()):
            task = asyncio.get_running_loop().create_task(self._clean(), name="clean up the pool")
            self._cleaning.add(task)
            task.add_done_callback(self._cleaned)

    def _cleaned(self, task: asyncio.Task[None]) -> None:
        self._cleaning.discard(task)
        if not task.cancelled() and task.exception() is None:
            self.tidy()  # something may have come up after its last look

    async def _clean(self) -> None:
        """Free old versions that nobody uses, and idle models that exceed a budget that was lowered."""
        while (old := self._unused_outdated()) is not None:
            if old.model is not None:
                await self.unloading(old, "its files changed")
            self._ledger.outdated_versions.remove(old)
        while (excess := self._excess()) is not None:
            await self._evicting(excess, "the budget was lowered")

    def _unused_outdated(self) -> PooledModel | None:
        ledger = self._ledger
        return next((pooled for pooled in ledger.outdated_versions if ledger.outdated(pooled)), None)

    def _excess(self) -> PooledModel | Idle | None:
        """What leaves next, where the budget is exceeded and something idle could leave."""
        ledger = self._ledger
        used, limits = ledger.usage(), ledger.limits()
        if used.host_nbytes > limits.host_nbytes and (models := ledger.idle_on_host(None)):
            return min(models, key=lambda pair: (pair[0].wanted is not None, pair[0].last_used))[1]
        if used.device_nbytes > limits.device_nbytes and (copies := ledger.idle_on_device(None)):
            return min(copies, key=lambda copy: (copy.wanted is not None, copy.last_used))
        return None

    def _evicting(self, victim: PooledModel | Idle, reason: str) -> Coroutine[Any, Any, int]:
        return self.unloading(victim, reason) if isinstance(victim, PooledModel) else self.offloading([victim], reason)

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
