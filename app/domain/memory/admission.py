"""Decides what a reservation needs next, from the ledger alone. The pool acts; `eviction_preview` plays it on a copy."""

from dataclasses import dataclass

from ..errors import InsufficientMemory
from ..units import format_bytes
from .eviction import Idle, freed_nbytes, plan_eviction, plan_unloading
from .ledger import Ledger, PooledModel, Reservation


@dataclass(frozen=True, slots=True)
class Fits:
    """The reservation fits and can be granted."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Running requests must give memory back first."""


@dataclass(frozen=True, slots=True)
class Unload:
    """An idle model must leave host memory; then decide again."""

    pooled: PooledModel


@dataclass(frozen=True, slots=True)
class Offload:
    """These device copies must be dropped; then decide again."""

    copies: tuple[Idle, ...]


Step = Fits | Wait | Unload | Offload


def next_step(ledger: Ledger, reservation: Reservation) -> Step:
    """Decide what brings a reservation nearer to fitting.

    Components that other requests wait for may be evicted too, as the last resort: those requests stand behind this one in the
    queue, so waiting for them would never end. Nothing is evicted while another model is leaving anyway: the bytes that it frees
    may be enough.
    """
    pooled = reservation.pooled
    if pooled.leaving:
        return Wait()
    used, limits = ledger.usage(reservation), ledger.limits()
    if used.host_nbytes <= limits.host_nbytes and used.device_nbytes <= limits.device_nbytes:
        return Fits()
    if any(each.leaving or ledger.outdated(each) for each in ledger.all() if each is not pooled):
        return Wait()
    idle = {model.key: (model, other) for model, other in ledger.idle_on_host(pooled)}
    models = plan_unloading(
        [model for model, _ in idle.values()], ledger.shares(), used.host_nbytes - limits.host_nbytes
    )
    if models is None:
        return Wait()
    if models:
        return Unload(idle[models[0].key][1])
    copies = plan_eviction(ledger.idle_on_device(pooled), used.device_nbytes - limits.device_nbytes)
    return Offload(copies) if copies else Wait()


def refuse_impossible(ledger: Ledger, reservation: Reservation) -> None:
    """Refuse a reservation that would not fit even if the model were alone with the pinned ones.

    Raises:
        InsufficientMemory: it would not fit.
    """
    pooled = reservation.pooled
    current = ledger.pooled_models.values()  # an outdated version leaves, pinned or not
    staying = [other for other in current if other is not pooled and other.record.pinned and other.model]
    pinned, needed, limits = (
        ledger.usage(of=staying),
        ledger.usage(reservation, of=[*staying, pooled], alone=True),
        ledger.limits(),
    )
    for tier, setting in (("host_nbytes", "memory.host"), ("device_nbytes", "memory.device")):
        limit, taken, wanted = getattr(limits, tier), getattr(pinned, tier), getattr(needed, tier)
        if wanted > limit:
            own, available = wanted - taken, limit - taken
            beside = f" beside {format_bytes(taken)} of pinned models" if taken else ""
            raise InsufficientMemory(
                f"Model {pooled.spec.name!r} needs {format_bytes(own)} for its weights and this image; the budget allows "
                f"{format_bytes(available)}{beside}. Ask for a smaller image, or raise {setting} in the settings.",
                needed_nbytes=own,
                available_nbytes=available,
            )


def can_admit(ledger: Ledger, reservation: Reservation) -> bool:
    """Tell whether a reservation fits beside everything that is used or waited for; the rest would be evicted."""
    if ledger.queue or reservation.pooled.leaving:
        return False  # requests that queue in the pool are served first
    used, limits = ledger.usage(reservation), ledger.limits()
    unwanted = [model for model, _ in ledger.idle_on_host(reservation.pooled) if model.wanted is None]
    if used.host_nbytes - freed_nbytes(unwanted, ledger.shares()) > limits.host_nbytes:
        return False
    if ledger.shared:
        return True
    copies = sum(copy.nbytes for copy in ledger.idle_on_device(reservation.pooled) if copy.wanted is None)
    return used.device_nbytes - copies <= limits.device_nbytes
