"""Decides what a reservation needs next, from the ledger alone. The pool acts; `eviction_preview` plays it on a copy."""

from dataclasses import dataclass

from ..errors import InsufficientMemory
from ..units import format_bytes
from .eviction.eviction import Idle, freed_nbytes, plan_eviction, plan_unloading
from .ledger import Ledger, PooledAsset, Reservation


@dataclass(frozen=True, slots=True)
class Fits:
    """The reservation fits and can be granted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Running requests must give memory back first."""


@dataclass(frozen=True, slots=True)
class Unload:
    """An idle model or adapter must leave host memory; then decide again."""

    pooled: PooledAsset


@dataclass(frozen=True, slots=True)
class Offload:
    """These device copies must be dropped; then decide again."""

    copies: tuple[Idle, ...]


Step = Fits | Wait | Unload | Offload


def next_step(ledger: Ledger, reservation: Reservation) -> Step:
    """Decide what brings a reservation nearer to fitting.

    Components that other requests wait for may be evicted too, as the last resort: those requests stand behind this one in the
    queue, so waiting for them would never end. Nothing is evicted while another asset is leaving anyway: the bytes that it frees
    may be enough.
    """
    own = reservation.assets
    if any(pooled.leaving for pooled in own):
        return Wait()
    used, limits = ledger.usage(reservation), ledger.limits()
    if used.host_nbytes <= limits.host_nbytes and used.device_nbytes <= limits.device_nbytes:
        return Fits()
    if any(each.leaving or ledger.outdated(each) for each in ledger.all() if each not in own):
        return Wait()
    idle = {asset.key: (asset, other) for asset, other in ledger.idle_on_host(own)}
    victims = plan_unloading(
        [asset for asset, _ in idle.values()], ledger.shares(), used.host_nbytes - limits.host_nbytes
    )
    if victims is None:
        return Wait()
    if victims:
        return Unload(idle[victims[0].key][1])
    copies = plan_eviction(ledger.idle_on_device(own), used.device_nbytes - limits.device_nbytes)
    return Offload(copies) if copies else Wait()


def refuse_impossible(ledger: Ledger, reservation: Reservation) -> None:
    """Refuse a reservation that would not fit even if its assets were alone with the pinned ones.

    Raises:
        InsufficientMemory: it would not fit.
    """
    assets = reservation.assets
    current = ledger.current.values()  # an outdated version leaves, pinned or not
    staying = [other for other in current if other not in assets and other.record.pinned and other.loaded]
    pinned, needed, limits = (
        ledger.usage(of=staying),
        ledger.usage(reservation, of=[*staying, *assets], alone=True),
        ledger.limits(),
    )
    for tier, setting in (("host_nbytes", "memory.host"), ("device_nbytes", "memory.device")):
        limit, taken, wanted = getattr(limits, tier), getattr(pinned, tier), getattr(needed, tier)
        if wanted > limit:
            own, available = wanted - taken, limit - taken
            beside = f" beside {format_bytes(taken)} of pinned models" if taken else ""
            raise InsufficientMemory(
                f"{_named(reservation)} needs {format_bytes(own)} for its weights and this image; the budget allows "
                f"{format_bytes(available)}{beside}. Ask for a smaller image{_fewer(reservation)}, or raise {setting} in the "
                "settings.",
                needed_nbytes=own,
                available_nbytes=available,
            )


def takes_host_memory(ledger: Ledger, reservation: Reservation) -> bool:
    """Tell whether a reservation takes more host memory than is taken already."""
    return ledger.usage(reservation).host_nbytes > ledger.usage().host_nbytes


def lacks_host_memory(ledger: Ledger, reservation: Reservation) -> bool:
    """Tell whether a reservation does not fit into host memory."""
    return ledger.usage(reservation).host_nbytes > ledger.limits().host_nbytes


def can_admit(ledger: Ledger, reservation: Reservation) -> bool:
    """Tell whether a reservation fits beside everything that is used or waited for; the rest would be evicted."""
    assets = reservation.assets
    if ledger.queue or any(pooled.leaving for pooled in assets):
        return False  # requests that queue in the pool are served first
    if ledger.others_wait() and takes_host_memory(ledger, reservation):
        return False
    used, limits = ledger.usage(reservation), ledger.limits()
    unwanted = [asset for asset, _ in ledger.idle_on_host(assets) if asset.wanted is None]
    if used.host_nbytes - freed_nbytes(unwanted, ledger.shares()) > limits.host_nbytes:
        return False
    if ledger.shared:
        return True
    copies = sum(copy.nbytes for copy in ledger.idle_on_device(assets) if copy.wanted is None)
    return used.device_nbytes - copies <= limits.device_nbytes


def _named(reservation: Reservation) -> str:
    lead, *others = (str(pooled.key) for pooled in reservation.assets)
    beside = f" with {', '.join(others)}" if others else ""
    return f"{lead[0].upper()}{lead[1:]}{beside}"


def _fewer(reservation: Reservation) -> str:
    return ", use fewer adapters" if len(reservation.assets) > 1 else ""
