"""Brings a model to where a claim wants it: fetched, read and placed once, however many wait."""

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..engine import Engine
from ..errors import DiffusionError, InsufficientMemory, LoadFailed, OutOfMemory, UnusableModel
from ..models.catalogue import Catalogue
from ..models.components import ComponentId, LoadProgress
from ..models.spec import HubRepository
from ..uncancellable import retrieve
from .events import ModelLoaded, ModelLoadFailed, ModelPlaced, OnPoolEvent
from .ledger import Books, Entry, Failure, Tier

BACK_OFF_S = 5.0
"""So long a failed load is not tried again; everybody who asks meanwhile gets the same answer."""
_T = TypeVar("_T")


class Arrival:
    """Works on entries that are on the books already: the bytes that it fills have been promised to it."""

    def __init__(
        self,
        books: Books,
        catalogue: Catalogue,
        engine: Engine,
        *,
        clock: Callable[[], float],
        on_event: OnPoolEvent,
        on_done: Callable[[], None],
    ) -> None:
        self._books = books
        self._catalogue = catalogue
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._on_done = on_done

    async def fetch(self, entry: Entry) -> None:
        """Make sure that the files are on disk; takes no memory, and no time for local files."""
        if isinstance(entry.spec.source, HubRepository) and entry.model is None and "load" not in entry.work:
            await self._once(entry, "fetch", self._fetch)

    async def bring(self, entry: Entry, tier: Tier, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
        """Read the model and, for the device, place what is missing there.

        Args:
            entry: whose bytes are claimed.
            tier: where to bring it.
            drop_idle: frees device memory, where the device turns out to be fuller than the books say.
        """
        if entry.model is None:
            await self._once(entry, "load", self._load)
        while tier == "device" and self._books.missing_on_device(entry):
            await self._once(entry, "place", lambda entry: self._place(entry, drop_idle))

    async def _once(self, entry: Entry, name: str, work: Callable[[Entry], Coroutine[Any, Any, None]]) -> None:
        if name not in entry.work:
            task = entry.work[name] = asyncio.create_task(work(entry), name=f"{name} {entry.spec.name}")
            task.add_done_callback(lambda task: self._ended(entry, name, task))
        await asyncio.shield(entry.work[name])

    def _ended(self, entry: Entry, name: str, task: asyncio.Task[None]) -> None:
        """Strike the work from the books; nobody may be left who waits for it."""
        retrieve(task)
        if entry.work.get(name) is task:
            del entry.work[name]
        entry.progress = None
        self._on_done()

    async def _fetch(self, entry: Entry) -> None:
        await self._failing_for_all(entry, self._engine.fetch(entry.spec, self._noting(entry)))
        spec = self._catalogue.get(entry.spec.name)
        if spec.version == entry.spec.version:
            entry.spec = spec  # its size is known now
            if spec.unusable is not None:
                raise UnusableModel(spec.name, spec.unusable)

    async def _load(self, entry: Entry) -> None:
        begun = self._clock()
        try:
            entry.model = await self._failing_for_all(entry, self._engine.load(entry.spec, self._noting(entry)))
        finally:
            entry.listeners.clear()
        entry.expected = entry.components
        nbytes = sum(component.nbytes for component in entry.components)
        seconds = self._arrived(entry, begun, nbytes)
        entry.record.loads += 1
        self._on_event(ModelLoaded(model=entry.spec.name, nbytes=nbytes, seconds=seconds))

    async def _place(self, entry: Entry, drop_idle: Callable[[], Coroutine[Any, Any, int]]) -> None:
        begun = self._clock()
        missing = self._books.missing_on_device(entry)
        ids = [component.id for component in missing]
        try:
            await self._engine.place(ids)
        except OutOfMemory:
            if not await drop_idle():
                raise self._does_not_fit(entry) from None
            await self._place_again(entry, ids)
        self._books.placed.update(ids)
        nbytes = sum(component.nbytes for component in missing)
        seconds = self._arrived(entry, begun, nbytes)
        names = tuple(component.name for component in missing)
        self._on_event(ModelPlaced(model=entry.spec.name, components=names, nbytes=nbytes, seconds=seconds))

    async def _place_again(self, entry: Entry, ids: list[ComponentId]) -> None:
        try:
            await self._engine.place(ids)
        except OutOfMemory:
            raise self._does_not_fit(entry) from None

    def _does_not_fit(self, entry: Entry) -> InsufficientMemory:
        needed = sum(component.nbytes for component in entry.components)
        return InsufficientMemory(
            f"The device ran out of memory while {entry.spec.name!r} was brought there ({needed / 1e9:.2f} GB). Other "
            "programs may be using it: free its memory, or lower memory.device in the settings to what is really there.",
            needed_nbytes=needed,
            available_nbytes=self._books.limits().device_nbytes,
        )

    def _arrived(self, entry: Entry, begun: float, nbytes: int) -> float:
        """Note a swap; returns the seconds that it took."""
        record, now = entry.record, self._clock()
        record.swap_nbytes, record.swap_s, record.last_used = nbytes, now - begun, now
        return record.swap_s

    def _noting(self, entry: Entry) -> Callable[[LoadProgress], None]:
        def note(progress: LoadProgress) -> None:
            entry.progress = progress
            for listener in tuple(entry.listeners):
                listener(progress)

        return note

    async def _failing_for_all(self, entry: Entry, work: Coroutine[Any, Any, _T]) -> _T:
        """Await a fetch or a load; whatever it raises becomes one of the domain's errors, and is remembered a while."""
        name = entry.spec.name
        try:
            return await work
        except DiffusionError as failure:
            error, stack = failure, None
        except Exception as failure:
            error = LoadFailed(f"Loading {name!r} failed: {failure}. The server's log has the details.")
            stack = "".join(traceback.format_exception(failure))
        if isinstance(error, UnusableModel):
            self._catalogue.mark_unusable(name, entry.spec.version, error.reason)
        entry.failure = Failure(error, self._clock() + BACK_OFF_S)
        self._on_event(ModelLoadFailed(model=name, code=error.code, reason=error.message, stack=stack))
        raise error.with_traceback(None) from None  # a traceback would keep the loader's buffers alive
