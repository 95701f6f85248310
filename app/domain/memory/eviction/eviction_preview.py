"""Tells what a request would find and evict if it came now: its reservation, played on a copy of the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...models.assets import AssetKey, AssetSpec, key_of, unusable
from ...models.components import Component, ComponentId
from ...models.spec import Residency
from ..admission import Fits, Offload, Unload, Wait, next_step, refuse_impossible
from ..ledger import Ledger, PooledAsset, Record, Reservation, Tier
from .eviction import Idle


@dataclass(frozen=True, slots=True, kw_only=True)
class Eviction:
    """A planned eviction: an asset leaves all memory (`host`), or copies of its components leave the device."""

    asset: AssetKey
    tier: Tier
    components: tuple[str, ...]
    """Components whose bytes become free; shared ones stay."""
    nbytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictionPreview:
    """Where a request would find its model, and what would make room for it."""

    residency: Residency
    """Residency of the model."""
    cold: tuple[AssetKey, ...]
    """Assets that would be read from disk."""
    evictions: tuple[Eviction, ...]
    """Evictions in the order in which they would happen."""
    waits: bool
    """Whether running requests must give memory back first; what happens then cannot be told."""


def preview_evictions(
    ledger: Ledger,
    assets: Sequence[tuple[AssetSpec, Sequence[Component]]],
    now: float,
    *,
    activation_nbytes: int = 0,
    together_nbytes: int = 0,
) -> EvictionPreview:
    """Play a lease for the device on a copy of the ledger.

    Args:
        ledger: only read.
        assets: the model first, then what is added to it; each with its weights as they are expected before its first load.
        now: on the pool's clock.
        activation_nbytes: as for `DevicePool.lease`.
        together_nbytes: as for `DevicePool.lease`.

    Raises:
        UnusableAsset, InsufficientMemory: as `DevicePool.lease` would.
        LoadFailed: loading failed a few seconds ago, and is not tried again yet.
    """
    play = _Simulation(ledger)
    pooled = tuple(_entered(play, spec, weights, now) for spec, weights in assets)
    reservation = Reservation(pooled, "device", activation_nbytes, together_nbytes, ledger.device)
    residency = play.ledger.residency(reservation.lead)
    cold = tuple(each.key for each in pooled if each.loaded is None)
    refuse_impossible(play.ledger, reservation)
    waits = play.make_room(reservation)
    return EvictionPreview(residency=residency, cold=cold, evictions=tuple(play.evictions), waits=waits)


def _entered(play: "_Simulation", spec: AssetSpec, weights: Sequence[Component], now: float) -> PooledAsset:
    if spec.unusable is not None:
        raise unusable(key_of(spec), spec.unusable)
    pooled = play.enter(spec, weights)
    if pooled.failure is not None and now < pooled.failure.until:
        raise pooled.failure.error.with_traceback(None)
    return pooled


class _Simulation:
    """A copy of the ledger on which evictions are played. Assets that change are replaced, never written to."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger.copy()
        self.evictions: list[Eviction] = []

    def enter(self, spec: AssetSpec, weights: Sequence[Component]) -> PooledAsset:
        """Add an asset as it would be pooled; an outdated version that no request uses leaves."""
        key = key_of(spec)
        pooled = self.ledger.current.get(key)
        if pooled is not None and pooled.spec.version != spec.version:
            if pooled.busy or self.ledger.waiting(pooled):
                self.ledger.outdated_versions.append(pooled)
            elif pooled.loaded is not None:
                self.unload(pooled)
            pooled = PooledAsset(spec, pooled.record)
        elif pooled is None:
            pooled = PooledAsset(spec, Record())
        if not pooled.expected:  # so no request holds it
            pooled = replace(pooled, expected=tuple(weights))
        self.ledger.current[key] = pooled
        return pooled

    def make_room(self, reservation: Reservation) -> bool:
        """Play the evictions for a reservation. Returns whether running requests must give memory back first."""
        while True:
            match next_step(self.ledger, reservation):
                case Fits():
                    return False
                case Wait():
                    return True
                case Unload(pooled=victim):
                    self.unload(victim)
                case Offload(copies=copies):
                    self.offload(copies)

    def unload(self, victim: PooledAsset) -> None:
        """Take an asset off both tiers."""
        before, nbytes = self.ledger.components(), self.ledger.usage().host_nbytes
        self.ledger.current[victim.key] = replace(victim, loaded=None)
        self.ledger.forget_freed()
        after = self.ledger.components()
        self.evictions.append(
            Eviction(
                asset=victim.key,
                tier="host",
                components=tuple(part.name for key, part in before.items() if key not in after),
                nbytes=nbytes - self.ledger.usage().host_nbytes,
            )
        )

    def offload(self, copies: Sequence[Idle]) -> None:
        """Take copies off the device."""
        known, having = self.ledger.components(), self.ledger.owners()
        going = [known[ComponentId(copy.key)] for copy in copies]
        owners = {part.id: having[part.id][0].key for part in going}
        self.ledger.placed.difference_update(owners)
        for asset in dict.fromkeys(owners.values()):
            own = [part for part in going if owners[part.id] == asset]
            self.evictions.append(
                Eviction(
                    asset=asset,
                    tier="device",
                    components=tuple(part.name for part in own),
                    nbytes=sum(part.nbytes for part in own),
                )
            )
