"""Brings a model to the tier of a reservation: fetched, read and placed once for all that wait."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..engine import Device, ModelLoader
from ..errors import DiffusionError, InsufficientMemory, LoadFailed, OutOfMemory, UnusableModel
from ..models.catalogue import Catalogue
from ..models.components import ComponentId, LoadProgress
from ..models.spec import HubRepository, ModelName
from ..uncancellable import consume_exception
from ..units import format_bytes
from .events import ModelLoaded, ModelLoadFailed, ModelPlaced, OnPoolEvent
from .ledger import Failure, Ledger, PooledModel, Tier

BACK_OFF_S = 5.0
"""Seconds for which a failed load is not tried again; requests get the same error until then."""
_T = TypeVar("_T")
OnLoading = Callable[[ModelName, LoadProgress | None], None]
"""Receives the progress of every load and download, from the loader's threads, and None at its end. Must return at once."""


class ModelLoading:
    """Works on models whose bytes are in the ledger already: it never takes memory that was not reserved."""

    def __init__(
        self,
        ledger: Ledger,
        catalogue: Catalogue,
        loader: ModelLoader,
        device: Device,
        *,
        clock: Callable[[], float],
        on_event: OnPoolEvent,
        on_done: Callable[[], None],
        on_loading: OnLoading,
    ) -> None:
        self._ledger = ledger
        self._catalogue = catalogue
        self._loader = loader
        self._device = device
        self._clock = clock
        self._on_event = on_event
        self._on_done = on_done
        self._on_loading = on_loading

    async def fetch(self, pooled: PooledModel) -> None:
        """Make sure that the files are on disk; takes no memory, and no time for local files."""
        if isinstance(pooled.spec.source, HubRepository) and pooled.model is None and "load" not in pooled.work:
            await self._once(pooled, "fetch", self._fetch)

    async def bring(self, pooled: PooledModel, tier: Tier, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
        """Read the model and, for the device, place what is missing there.

        Args:
            pooled: model whose bytes are reserved.
            tier: where to bring it.
            drop_idle: frees device memory if the device turns out to be fuller than the ledger says.
        """
        if pooled.model is None:
            await self._once(pooled, "load", self._load)
        while tier == "device" and self._ledger.missing_on_device(pooled):
            await self._once(pooled, "place", lambda pooled: self._place(pooled, drop_idle))

    async def _once(
        self, pooled: PooledModel, name: str, work: Callable[[PooledModel], Coroutine[Any, Any, None]]
    ) -> None:
        if name not in pooled.work:
            task = pooled.work[name] = asyncio.create_task(work(pooled), name=f"{name} {pooled.spec.name}")
            task.add_done_callback(lambda task: self._ended(pooled, name, task))
        await asyncio.shield(pooled.work[name])

    def _ended(self, pooled: PooledModel, name: str, task: asyncio.Task[None]) -> None:
        """Remove finished work; all requests that waited for it may have left."""
        consume_exception(task)
        if pooled.work.get(name) is task:
            del pooled.work[name]
        pooled.progress = None
        self._on_loading(pooled.spec.name, None)
        self._on_done()

    async def _fetch(self, pooled: PooledModel) -> None:
        await self._failing_for_all(pooled, self._loader.fetch(pooled.spec, self._noting(pooled)))
        spec = await self._catalogue.find(pooled.spec.name, changed=True)
        if spec.version == pooled.spec.version:
            pooled.spec = spec  # its size is known now
            if spec.unusable is not None:
                raise UnusableModel(spec.name, spec.unusable)

    async def _load(self, pooled: PooledModel) -> None:
        begun = self._clock()
        try:
            pooled.model = await self._failing_for_all(pooled, self._loader.load(pooled.spec, self._noting(pooled)))
        finally:
            pooled.listeners.clear()
        pooled.expected = pooled.components
        nbytes = sum(component.nbytes for component in pooled.components)
        seconds = self._arrived(pooled, begun, nbytes)
        pooled.record.loads += 1
        self._on_event(ModelLoaded(model=pooled.spec.name, nbytes=nbytes, seconds=seconds))

    async def _place(self, pooled: PooledModel, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
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
        self._on_event(ModelPlaced(model=pooled.spec.name, components=names, nbytes=nbytes, seconds=seconds))

    async def _place_again(self, pooled: PooledModel, ids: list[ComponentId]) -> None:
        try:
            await self._device.place(ids)
        except OutOfMemory:
            raise self._does_not_fit(pooled) from None

    def _does_not_fit(self, pooled: PooledModel) -> InsufficientMemory:
        needed = sum(component.nbytes for component in pooled.components)
        return InsufficientMemory(
            f"The device ran out of memory while {pooled.spec.name!r} was brought there ({format_bytes(needed)}). Other "
            "programs may be using it: free its memory, or lower memory.device in the settings to what is really there.",
            needed_nbytes=needed,
            available_nbytes=self._ledger.limits().device_nbytes,
        )

    def _arrived(self, pooled: PooledModel, begun: float, nbytes: int) -> float:
        """Note a swap; returns the seconds that it took."""
        record, now = pooled.record, self._clock()
        record.swap_nbytes, record.swap_s, record.last_used = nbytes, now - begun, now
        return record.swap_s

    def _noting(self, pooled: PooledModel) -> Callable[[LoadProgress], None]:
        def note(progress: LoadProgress) -> None:
            pooled.progress = progress
            self._on_loading(pooled.spec.name, progress)
            for listener in tuple(pooled.listeners):
                listener(progress)

        return note

    async def _failing_for_all(self, pooled: PooledModel, work: Coroutine[Any, Any, _T]) -> _T:
        """Await a fetch or a load; what it raises becomes an error of the domain and is remembered for a few seconds."""
        name = pooled.spec.name
        try:
            return await work
        except DiffusionError as failure:
            error, stack = failure, None
        except Exception as failure:
            error = LoadFailed(f"Loading {name!r} failed: {failure}. The server's log has the details.")
            stack = "".join(traceback.format_exception(failure))
        if isinstance(error, UnusableModel):
            self._catalogue.mark_unusable(name, pooled.spec.version, error.reason)
        pooled.failure = Failure(error, self._clock() + BACK_OFF_S)
        self._on_event(ModelLoadFailed(model=name, code=error.code, reason=error.message, stack=stack))
        raise error.with_traceback(None) from None  # a traceback would keep the loader's buffers alive
