"""Brings an asset to the tier of a reservation: fetched, read and placed once for all that wait."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..engine import Device, ModelLoader
from ..errors import DiffusionError, InsufficientMemory, LoadFailed, OutOfMemory, UnusableAsset, UnusableModel
from ..models.adapters import AdapterSpec
from ..models.assets import AssetKey, AssetSpec
from ..models.catalogue import Catalogues
from ..models.components import ComponentId, LoadedModel, LoadProgress, OnLoad
from ..models.spec import HubRepository, ModelSpec
from ..models.vaes import VaeSpec
from ..uncancellable import consume_exception
from ..units import format_bytes
from .events import AssetLoaded, AssetLoadFailed, AssetPlaced, OnPoolEvent
from .ledger import Failure, Ledger, PooledAsset, Tier, placing

BACK_OFF_S = 5.0
"""Seconds for which a failed load is not tried again; requests get the same error until then."""
_T = TypeVar("_T")
OnLoading = Callable[[AssetKey, LoadProgress | None], None]
"""Receives the progress of every load and download, from the loader's threads, and None at its end. Must return at once."""


class AssetLoading:
    """Works on assets whose bytes are in the ledger already: it never takes memory that was not reserved."""

    def __init__(
        self,
        ledger: Ledger,
        catalogues: Catalogues,
        loader: ModelLoader,
        device: Device,
        *,
        clock: Callable[[], float],
        on_event: OnPoolEvent,
        on_done: Callable[[], None],
        on_loading: OnLoading,
    ) -> None:
        self._ledger = ledger
        self._catalogues = catalogues
        self._loader = loader
        self._device = device
        self._clock = clock
        self._on_event = on_event
        self._on_done = on_done
        self._on_loading = on_loading

    async def fetch(self, pooled: PooledAsset) -> None:
        """Make sure that the files are on disk; takes no memory, and no time for local files."""
        remote = isinstance(pooled.spec, ModelSpec) and isinstance(pooled.spec.source, HubRepository)
        if remote and pooled.loaded is None and "load" not in pooled.work:
            await self._once(pooled, "fetch", self._fetch)

    async def bring(self, pooled: PooledAsset, tier: Tier, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
        """Read the asset and, for the device, place what is missing there.

        Args:
            pooled: asset whose bytes are reserved.
            tier: where to bring it.
            drop_idle: frees device memory if the device turns out to be fuller than the ledger says.
        """
        if pooled.loaded is None:
            await self._once(pooled, "load", self._load)
        while tier == "device" and self._ledger.missing_on_device(pooled):
            await self._once(pooled, placing(self._ledger.device), lambda pooled: self._place(pooled, drop_idle))

    async def _once(
        self, pooled: PooledAsset, name: str, work: Callable[[PooledAsset], Coroutine[Any, Any, None]]
    ) -> None:
        if name not in pooled.work:
            task = pooled.work[name] = asyncio.create_task(work(pooled), name=f"{name} {pooled.key}")
            task.add_done_callback(lambda task: self._ended(pooled, name, task))
        await asyncio.shield(pooled.work[name])

    def _ended(self, pooled: PooledAsset, name: str, task: asyncio.Task[None]) -> None:
        """Remove finished work; all requests that waited for it may have left."""
        consume_exception(task)
        if pooled.work.get(name) is task:
            del pooled.work[name]
        pooled.progress = None
        self._on_loading(pooled.key, None)
        self._on_done()

    async def _fetch(self, pooled: PooledAsset) -> None:
        assert isinstance(pooled.spec, ModelSpec)
        await self._failing_for_all(pooled, self._loader.fetch(pooled.spec, self._noting(pooled)))
        spec = await self._catalogues.models.find(pooled.spec.name, changed=True)
        if spec.version == pooled.spec.version:
            pooled.spec = spec  # its size is known now
            if spec.unusable is not None:
                raise UnusableModel(spec.name, spec.unusable)

    async def _load(self, pooled: PooledAsset) -> None:
        begun = self._clock()
        try:
            pooled.loaded = await self._failing_for_all(pooled, self._read(pooled.spec, self._noting(pooled)))
        finally:
            pooled.listeners.clear()
        pooled.expected = pooled.components
        nbytes = sum(component.nbytes for component in pooled.components)
        seconds = self._arrived(pooled, begun, nbytes)
        pooled.record.loads += 1
        self._on_event(AssetLoaded(asset=pooled.key, nbytes=nbytes, seconds=seconds))

    def _read(self, spec: AssetSpec, on_load: OnLoad) -> Coroutine[Any, Any, LoadedModel]:
        match spec:
            case ModelSpec():
                return self._loader.load(spec, on_load)
            case AdapterSpec():
                return self._loader.load_adapter(spec, on_load)
            case VaeSpec():
                return self._loader.load_vae(spec, on_load)

    async def _place(self, pooled: PooledAsset, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
        begun = self._clock()
        missing = self._ledger.missing_on_device(pooled)
        ids = [component.id for component in missing]
        try:
            await self._device.place(ids)
        except OutOfMemory:
            if not await drop_idle():
                raise self._does_not_fit(pooled) from None
            await self._place_again(pooled, ids)
        self._ledger.placed.update(ids)
        nbytes = sum(component.nbytes for component in missing)
        seconds = self._arrived(pooled, begun, nbytes)
        names = tuple(component.name for component in missing)
        self._on_event(
            AssetPlaced(asset=pooled.key, components=names, nbytes=nbytes, seconds=seconds, device=self._ledger.label)
        )

    async def _place_again(self, pooled: PooledAsset, ids: list[ComponentId]) -> None:
        try:
            await self._device.place(ids)
        except OutOfMemory:
            raise self._does_not_fit(pooled) from None

    def _does_not_fit(self, pooled: PooledAsset) -> InsufficientMemory:
        needed = sum(component.nbytes for component in pooled.components)
        return InsufficientMemory(
            f"The device ran out of memory while {pooled.key} was brought there ({format_bytes(needed)}). Other "
            "programs may be using it: free its memory, or lower memory.device in the settings to what is really there.",
            needed_nbytes=needed,
            available_nbytes=self._ledger.limits().device_nbytes,
        )

    def _arrived(self, pooled: PooledAsset, begun: float, nbytes: int) -> float:
        """Note a swap; returns the seconds that it took."""
        record, now = pooled.record, self._clock()
        record.swap_nbytes, record.swap_s, record.last_used = nbytes, now - begun, now
        return record.swap_s

    def _noting(self, pooled: PooledAsset) -> Callable[[LoadProgress], None]:
        def note(progress: LoadProgress) -> None:
            pooled.progress = progress
            self._on_loading(pooled.key, progress)
            for listener in tuple(pooled.listeners):
                listener(progress)

        return note

    async def _failing_for_all(self, pooled: PooledAsset, work: Coroutine[Any, Any, _T]) -> _T:
        """Await a fetch or a load; what it raises becomes an error of the domain and is remembered for a few seconds."""
        try:
            return await work
        except DiffusionError as failure:
            error, stack = failure, None
        except Exception as failure:
            error = LoadFailed(f"Loading {pooled.key} failed: {failure}. The server's log has the details.")
            stack = "".join(traceback.format_exception(failure))
        if isinstance(error, UnusableAsset):
            self._catalogues.mark_unusable(pooled.key, pooled.spec.version, error.reason)
        pooled.failure = Failure(error, self._clock() + BACK_OFF_S)
        self._on_event(AssetLoadFailed(asset=pooled.key, code=error.code, reason=error.message, stack=stack))
        raise error.with_traceback(None) from None  # a traceback would keep the loader's buffers alive
