"""Tells what a request would find and evict if it came now: its reservation, played on a copy of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import UnusableModel
from ..models.components import Component, ComponentId
from ..models.spec import ModelName, ModelSpec, Residency
from .admission import Fits, Offload, Unload, Wait, next_step, refuse_impossible
from .eviction import Idle
from .ledger import Ledger, PooledModel, Record, Reservation, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """A planned eviction: a model leaves all memory (`host`), or copies of components leave the device."""

    model: ModelName
    tier: Tier
    components: tuple[str, ...]
    """Components whose bytes become free; shared ones stay."""
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionPreview:
    """Where a request would find its model, and what would make room for it."""

    residency: Residency
    evictions: tuple[Eviction, ...]
    """Evictions in the order in which they would happen."""
    waits: bool
    """Whether running requests must give memory back first; what happens then cannot be told."""


def preview_evictions(
    ledger: Ledger,
    spec: ModelSpec,
    weights: Component,
    now: float,
    *,
    activation_nbytes: int = 0,
    together_nbytes: int = 0,
) -> EvictionPreview:
    """Play a lease for the device on a copy of the ledger.

    Args:
        ledger: only read.
        spec: of the model.
        weights: expected components of a model that was never loaded.
        now: on the pool's clock.
        activation_nbytes: as for `ModelPool.lease`.
        together_nbytes: as for `ModelPool.lease`.

    Raises:
        UnusableModel, InsufficientMemory: as `ModelPool.lease` would.
        LoadFailed: loading failed a few seconds ago, and is not tried again yet.
    """
    if spec.unusable is not None:
        raise UnusableModel(spec.name, spec.unusable)
    play = _Simulation(ledger)
    pooled = play.enter(spec, weights)
    if pooled.failure is not None and now < pooled.failure.until:
        raise pooled.failure.error.with_traceback(None)
    reservation = Reservation(pooled, "device", activation_nbytes, together_nbytes)
    residency = play.ledger.residency(pooled)
    refuse_impossible(play.ledger, reservation)
    while True:
        match next_step(play.ledger, reservation):
            case Fits():
                return EvictionPreview(residency=residency, evictions=tuple(play.evictions), waits=False)
            case Wait():
                return EvictionPreview(residency=residency, evictions=tuple(play.evictions), waits=True)
            case Unload(pooled=victim):
                play.unload(victim)
            case Offload(copies=copies):
                play.offload(copies)


class _Simulation:
    """A copy of the ledger on which evictions are played. Models that change are replaced, never written to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger.copy()
        self.evictions: list[Eviction] = []

    def enter(self, spec: ModelSpec, weights: Component) -> PooledModel:
        """Add the model as it would be pooled; an outdated version that no request uses leaves."""
        pooled = self.ledger.pooled_models.get(spec.name)
        if pooled is not None and pooled.spec.version != spec.version:
            if pooled.busy or pooled in self.ledger.queue:
                self.ledger.outdated_versions.append(pooled)
            elif pooled.model is not None:
                self.unload(pooled)
            pooled = PooledModel(spec, pooled.record)
        elif pooled is None:
            pooled = PooledModel(spec, Record())
        if not pooled.expected:  # so no request holds it
            pooled = replace(pooled, expected=(weights,))
        self.ledger.pooled_models[spec.name] = pooled
        return pooled

    def unload(self, victim: PooledModel) -> None:
        before, nbytes = self.ledger.components(), self.ledger.usage().host_nbytes
        self.ledger.pooled_models[victim.spec.name] = replace(victim, model=None)
        self.ledger.forget_freed()
        after = self.ledger.components()
        self.evictions.append(
            Eviction(
                model=victim.spec.name,
                tier="host",
                components=tuple(part.name for key, part in before.items() if key not in after),
                nbytes=nbytes - self.ledger.usage().host_nbytes,
            )
        )

    def offload(self, copies: Sequence[Idle]) -> None:
        known = self.ledger.components()
        going = [known[ComponentId(copy.key)] for copy in copies]
        owners = {part.id: self.ledger.owners(part.id)[0].spec.name for part in going}
        self.ledger.placed.difference_update(owners)
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
