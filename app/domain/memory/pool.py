"""The pool of models: loads each once, lends them out, evicts idle ones to make room.

Everything here runs in the event loop's thread, so state changes between two `await`s are atomic. The engine does the
slow work in threads of its own. `books` says what is where, `eviction` decides who leaves, `departure` sees them off,
`arrival` brings models in; the pool grants claims to memory, first come first served.
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
from ..uncancellable import settled
from .admission import Offload, Room, Unload, Wait, next_step, refuse_impossible, room_for
from .budget import Budget
from .events import LeaseGranted, LeaseOverdue, OnPoolEvent, ignore
from .eviction_preview import Foretold, foretell
from .ledger import Books, Entry, Found, Hold, Record, Tier
from .loading import Arrival
from .snapshot import ModelStatus, PoolReport, PoolStats, model_status, pool_report, pool_stats
from .unloading import Departure

_FOUND: dict[Residency, Found] = {"device": "hot", "host": "warm", "cold": "cold"}


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


class ModelPool:
    """Models in memory, under a budget.

    Always true: bytes on each tier plus bytes promised to loads and activations are within the budget; a leased model is
    on the device; a model is loaded once however many wait for it; bytes that models share count once; every waiter gets
    a lease or an error.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        engine: Engine,
        budget: Budget | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        on_event: OnPoolEvent = ignore,
        overdue_s: float = 900.0,
    ) -> None:
        """Make an empty pool.

        Args:
            catalogue: which models there are.
            engine: where they run.
            budget: how much memory to use; no limit by default. See `set_budget`.
            clock: seconds, monotonic.
            on_event: hears what the pool does; called in the event loop, must return at once.
            overdue_s: a lease that is out for so long is reported as forgotten.
        """
        self._catalogue = catalogue
        self._engine = engine
        self._clock = clock
        self._on_event = on_event
        self._overdue_s = overdue_s
        self._books = Books()
        self._books.budget = budget or Budget()
        self._departure = Departure(self._books, engine, clock=clock, on_event=on_event)
        self._arrival = Arrival(
            self._books, catalogue, engine, clock=clock, on_event=on_event, on_done=self._departure.tidy
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
            on_load: hears of the load's progress, if this lease has to wait for one.
            together_nbytes: how much of them adds up with those of other leases of the model, which run at the same time.

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

    async def load(self, name: str, on_load: OnLoad | None = None, *, tier: Tier = "device") -> Found:
        """Bring a model to a tier now, so that the next request finds it there. Returns where it was before.

        Raises:
            DiffusionError: as `lease` does.
        """
        async with self._held(name, tier, on_load) as lease:
            return lease.found

    async def fetch(self, name: str, on_load: OnLoad | None = None) -> None:
        """Make sure that a model's files are on disk; takes no memory, and no time for local files.

        Raises:
            UnknownModel, UnusableModel, DownloadFailed: as `lease` does.
        """
        await self._engine.start()
        entry = self._enter(name)
        if on_load is not None:
            entry.listeners.append(on_load)
        try:
            await self._arrival.fetch(entry)
            self._expect(entry)
        finally:
            if on_load is not None and on_load in entry.listeners:
                entry.listeners.remove(on_load)

    def foresee(self, models: Sequence[ModelName]) -> None:
        """Tell which models will be asked for after those that wait here already, the next one first.

        What is wanted soon is evicted last; see `eviction`.
        """
        self._books.foreseen = list(models)

    def has_room(self, name: ModelName, activation_nbytes: int = 0, together_nbytes: int = 0) -> bool:
        """Whether a lease would be granted now without evicting what anybody waits for."""
        entry = self._books.entries.get(name)
        if entry is None or not (entry.expected or entry.model):
            return False  # its size is not known
        return room_for(self._books, Hold(entry, "device", activation_nbytes, together_nbytes))

    def foretell(self, name: str, activation_nbytes: int = 0, *, together_nbytes: int = 0) -> Foretold:
        """What a lease that was asked for now would find and evict. Changes nothing; call after the engine has started.

        Raises:
            DiffusionError: as `lease` does.
        """
        spec = self._catalogue.get(name)
        self._books.shared = self._engine.shares_host_memory
        return foretell(
            self._books,
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
        entry = self._books.entries.get(spec.name)
        if entry is None:
            return False
        in_use = len(entry.holds) + self._books.queue.count(entry)
        if in_use and not wait:
            raise ModelInUse(f"Model {name!r} is in use by {in_use} requests. Try again later, or wait for them.")
        while entry.busy or entry in self._books.queue:
            await self._departure.change()
        if entry.model is None:
            return False
        await settled(self._departure.unloading(entry, "asked for"))
        return True

    def pin(self, name: str, *, pinned: bool = True) -> None:
        """Never evict a model once it is in memory, or allow it again. Unloading by hand is possible all the same.

        Raises:
            UnknownModel: no such entry.
        """
        self._entry(self._catalogue.get(name)).record.pinned = pinned
        self._departure.tidy()

    async def drop_idle(self) -> int:
        """Free what device memory can be freed without touching a lease or a pin. Returns the bytes freed."""
        return await self._departure.drop_idle()

    async def unload_idle(self, idle_s: float) -> None:
        """Free the models that nobody has used for so many seconds, pinned ones excepted."""
        await self._departure.unload_idle(idle_s)

    def set_budget(self, budget: Budget) -> None:
        """Change the limits. What no longer fits leaves as soon as nobody holds it."""
        self._books.budget = budget
        self._books.shared = self._engine.shares_host_memory
        self._departure.tidy()

    async def close(self) -> None:
        """Free everything. Call when no lease is out."""
        for entry in self._books.all():
            for task in tuple(entry.work.values()):
                task.cancel()
        await self._departure.cleaned()
        for entry in self._books.all():
            while entry.leaving:
                await self._departure.change()
            if entry.model is not None:
                await self._departure.unloading(entry, "shutdown")
        self._books.entries.clear()
        self._books.departed.clear()

    def status(self, name: ModelName) -> ModelStatus:
        """Where a catalogue entry's weights are now, and who uses them."""
        return model_status(self._books, name, self._clock())

    def stats(self) -> PoolStats:
        """The sums of the books."""
        return pool_stats(self._books)

    def report(self) -> PoolReport:
        """Everything on the books: budgets, every component, every model."""
        return pool_report(self._books, self._clock())

    def check_integrity(self) -> None:
        """Raise AssertionError if the books are wrong. Cheap; for tests, and for whenever the pool is idle."""
        books = self._books
        used, limit = books.usage(), books.limits()
        host_excess = used.host_nbytes > limit.host_nbytes and books.idle_on_host(None)
        device_excess = used.device_nbytes > limit.device_nbytes and books.idle_on_device(None)
        settling = self._departure.cleaning or any(entry.work for entry in books.all())
        message = f"{used} exceeds {limit} while something idle could leave"
        assert settling or not (host_excess or device_excess), message
        assert books.placed <= books.components().keys() | books.dropping, "a device copy without a model"
        assert all(hold.entry is entry for entry in books.all() for hold in entry.holds)
        for entry in books.departed:
            waited_for = entry.busy or entry in books.queue or self._departure.cleaning
            assert waited_for, "an outdated model that nobody uses was not freed"

    @asynccontextmanager
    async def _held(
        self, name: str, tier: Tier, on_load: OnLoad | None, activation_nbytes: int = 0, together_nbytes: int = 0
    ) -> AsyncGenerator[Lease]:
        await self._engine.start()
        self._books.shared = self._engine.shares_host_memory
        entry = self._enter(name)
        hold = Hold(entry, tier, activation_nbytes, together_nbytes)
        self._books.queue.append(entry)
        if on_load is not None and entry.model is None:
            entry.listeners.append(on_load)
        try:
            begun, found = self._clock(), _FOUND[self._books.residency(entry)]
            try:
                await self._arrival.fetch(entry)
                wait_s = await self._claim(hold)
            finally:
                self._books.queue.remove(entry)
            await self._arrival.bring(entry, tier, self._departure.drop_idle)
            load_s = self._clock() - begun - wait_s
            entry.record.found[found] = entry.record.found.get(found, 0) + 1
            self._on_event(LeaseGranted(model=entry.spec.name, found=found, wait_s=wait_s, load_s=load_s))
            assert entry.model is not None
            yield Lease(spec=entry.spec, model=entry.model, found=found, load_s=load_s, wait_s=wait_s)
        finally:
            self._release(hold, on_load)

    def _enter(self, name: str) -> Entry:
        """The entry of the current version of a model, unless it is known to fail."""
        spec = self._catalogue.get(name)
        if spec.unusable is not None:
            raise UnusableModel(spec.name, spec.unusable)
        entry = self._entry(spec)
        if entry.failure is not None:
            if self._clock() < entry.failure.until:
                raise entry.failure.error.with_traceback(None)
            entry.failure = None
        return entry

    def _entry(self, spec: ModelSpec) -> Entry:
        entry = self._books.entries.get(spec.name)
        if entry is None:
            entry = self._books.entries[spec.name] = Entry(spec, Record())
        elif entry.spec.version != spec.version:
            self._books.departed.append(entry)  # those who hold or await this version keep it
            entry = self._books.entries[spec.name] = Entry(spec, entry.record)
            self._departure.tidy()
        return entry

    async def _claim(self, hold: Hold) -> float:
        """Get the right to the bytes that a model and its activations need, first come, first served.

        Returns:
            Seconds spent waiting for others.
        """
        begun = self._clock()
        waited = 0.0
        async with self._claiming:
            waited += self._clock() - begun
            while True:
                self._expect(hold.entry)
                refuse_impossible(self._books, hold)
                step = await self._step_towards_room(hold)
                if step == "room":
                    hold.entry.holds.append(hold)
                    return waited
                if step == "wait":
                    begun = self._clock()
                    await self._departure.change()
                    waited += self._clock() - begun

    def _expect(self, entry: Entry) -> None:
        if not entry.expected:
            entry.expected = (self._guess(entry.spec),)

    def _guess(self, spec: ModelSpec) -> Component:
        """Before the first load only the size of a model is known, and nothing of what it shares."""
        key = ComponentId(f"{spec.name}@{spec.version}")
        return Component(id=key, name="weights", nbytes=self._engine.weights_nbytes(spec), dtype="")

    async def _step_towards_room(self, hold: Hold) -> Literal["room", "evicted", "wait"]:
        """Evict once, if that helps a claim; tell whether there is room now, or whether others must give some back.

        The plan is made anew after each step, because a lease may have been granted or returned meanwhile.
        """
        reason = f"to make room for {hold.entry.spec.name}"
        match next_step(self._books, hold):
            case Room():
                return "room"
            case Wait():
                return "wait"
            case Unload(entry=victim):
                await settled(self._departure.unloading(victim, reason, reuse=hold.entry.model is None))
            case Offload(copies=copies):
                await settled(self._departure.offloading(copies, reason))
        return "evicted"

    def _release(self, hold: Hold, on_load: OnLoad | None) -> None:
        entry = hold.entry
        with suppress(ValueError):
            entry.holds.remove(hold)
            entry.record.last_used = self._clock()
        if on_load is not None:
            with suppress(ValueError):
                entry.listeners.remove(on_load)
        self._departure.tidy()
