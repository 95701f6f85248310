"""What a request would find and evict if it came now: its claim, played on a copy of the books. Nothing is changed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import UnusableModel
from ..models.components import Component, ComponentId
from ..models.spec import ModelName, ModelSpec, Residency
from .admission import Offload, Room, Unload, Wait, next_step, refuse_impossible
from .eviction import Idle
from .ledger import Books, Entry, Hold, Record, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """What would leave a tier: a model all memory (`host`), or copies of components the device."""

    model: ModelName
    tier: Tier
    components: tuple[str, ...]
    """Those whose bytes become free; what others share stays."""
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Foretold:
    """Where a request would find its model, and what would make room for it."""

    residency: Residency
    evictions: tuple[Eviction, ...]
    """In the order in which they would happen."""
    waits: bool
    """Whether requests that hold memory now must give some back first; what then happens is not foretold."""


def foretell(
    books: Books,
    spec: ModelSpec,
    weights: Component,
    now: float,
    *,
    activation_nbytes: int = 0,
    together_nbytes: int = 0,
) -> Foretold:
    """What a lease for the device would find and evict.

    Args:
        books: only read.
        spec: of the model.
        weights: what it is expected to bring, where it was never loaded.
        now: on the pool's clock.
        activation_nbytes: as for `ModelPool.lease`.
        together_nbytes: as for `ModelPool.lease`.

    Raises:
        UnusableModel, InsufficientMemory: as `ModelPool.lease` would.
        LoadFailed: loading failed a few seconds ago, and is not tried again yet.
    """
    if spec.unusable is not None:
        raise UnusableModel(spec.name, spec.unusable)
    play = _Play(books)
    entry = play.enter(spec, weights)
    if entry.failure is not None and now < entry.failure.until:
        raise entry.failure.error.with_traceback(None)
    hold = Hold(entry, "device", activation_nbytes, together_nbytes)
    residency = play.books.residency(entry)
    refuse_impossible(play.books, hold)
    while True:
        match next_step(play.books, hold):
            case Room():
                return Foretold(residency=residency, evictions=tuple(play.evictions), waits=False)
            case Wait():
                return Foretold(residency=residency, evictions=tuple(play.evictions), waits=True)
            case Unload(entry=victim):
                play.unload(victim)
            case Offload(copies=copies):
                play.offload(copies)


class _Play:
    """A copy of the books on which evictions are imagined. Entries that change are replaced, never written to."""

    def __init__(self, books: Books) -> None:
        self.books = copy = Books()
        copy.entries, copy.departed = dict(books.entries), list(books.departed)
        copy.placed, copy.dropping = set(books.placed), set(books.dropping)
        copy.queue, copy.foreseen = list(books.queue), list(books.foreseen)
        copy.budget, copy.shared = books.budget, books.shared
        self.evictions: list[Eviction] = []

    def enter(self, spec: ModelSpec, weights: Component) -> Entry:
        """The entry that the model would have; an outdated version that nobody uses leaves."""
        entry = self.books.entries.get(spec.name)
        if entry is not None and entry.spec.version != spec.version:
            if entry.busy or entry in self.books.queue:
                self.books.departed.append(entry)
            elif entry.model is not None:
                self.unload(entry)
            entry = Entry(spec, entry.record)
        elif entry is None:
            entry = Entry(spec, Record())
        if not entry.expected:  # and so nobody holds it
            entry = replace(entry, expected=(weights,))
        self.books.entries[spec.name] = entry
        return entry

    def unload(self, victim: Entry) -> None:
        before, nbytes = self.books.components(), self.books.usage().host_nbytes
        self.books.entries[victim.spec.name] = replace(victim, model=None)
        self.books.forget_freed()
        after = self.books.components()
        self.evictions.append(
            Eviction(
                model=victim.spec.name,
                tier="host",
                components=tuple(part.name for key, part in before.items() if key not in after),
                nbytes=nbytes - self.books.usage().host_nbytes,
            )
        )

    def offload(self, copies: Sequence[Idle]) -> None:
        known = self.books.components()
        going = [known[ComponentId(copy.key)] for copy in copies]
        owners = {part.id: self.books.owners(part.id)[0].spec.name for part in going}
        self.books.placed.difference_update(owners)
        for model in dict.fromkeys(owners.values()):
            own = [part for part in going if owners[part.id] == model]
            self.evictions.append(
                Eviction(
                    model=model,
                    tier="device",
                    components=tuple(part.name for part in own),
                    nbytes=sum(part.nbytes for part in own),
                )
            )
