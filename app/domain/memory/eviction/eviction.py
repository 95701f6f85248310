"""Chooses what is evicted for a request: two pure functions, one for each tier.

On the device the unit is the component: no byte moves if one is dropped, and only dropped ones have to come back. In host memory
the unit is the asset, a model or an adapter, because it has to be read from disk again. Both follow one order: first what no
request waits for, the least recently used first; then, as a last resort, what the requests furthest back in the queue wait for.
That is Belady's rule (Belady 1966, "A study of replacement algorithms") as far as the queue shows the future, and least recently
used beyond it.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import TypeVar

from ...models.assets import AssetKey
from ...models.components import ComponentId

_Candidate = TypeVar("_Candidate", "Idle", "IdleAsset")
_EXHAUSTIVE = 6
"""Number of components, last used by the same lease, up to which all subsets are tried to find the fewest bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Something in memory that no lease holds."""

    key: str
    nbytes: int
    last_used: float
    """Clock reading in seconds."""
    wanted: int | None = None
    """Position in the queue of the first request that waits for it; None if none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdleAsset:
    """A model or another asset in host memory that no lease holds."""

    key: AssetKey
    components: Collection[ComponentId]
    last_used: float
    wanted: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Which assets have which component in host memory, idle or not: a component is freed with the last of its owners."""

    nbytes: dict[ComponentId, int] = field(default_factory=dict[ComponentId, int])
    owners: dict[ComponentId, int] = field(default_factory=dict[ComponentId, int])
    """Number of assets that have the component."""


def plan_eviction(idle: Sequence[Idle], need_nbytes: int) -> tuple[Idle, ...] | None:
    """Choose the components that leave the device so that at least `need_nbytes` are freed.

    Among components that were last used together, the subset with the fewest bytes is chosen; components that turn out not to be
    needed stay.

    Returns:
        The victims in order, empty if nothing needs to be freed; None if evicting all of `idle` is not enough.
    """
    if need_nbytes <= 0:
        return ()
    if sum(candidate.nbytes for candidate in idle) < need_nbytes:
        return None
    victims: list[Idle] = []
    missing = need_nbytes
    for group in _groups(idle):
        chosen = _fewest_bytes(group, missing)
        victims += chosen
        missing -= sum(candidate.nbytes for candidate in chosen)
        if missing <= 0:
            break
    return _without_needless(victims, -missing)


def plan_unloading(idle: Sequence[IdleAsset], shares: Shares, need_nbytes: int) -> tuple[IdleAsset, ...] | None:
    """Choose the assets that leave host memory so that at least `need_nbytes` are freed; shared components free nothing.

    Returns:
        The victims in order, empty if nothing needs to be freed; None if evicting all of `idle` is not enough.
    """
    if need_nbytes <= 0:
        return ()
    if freed_nbytes(idle, shares) < need_nbytes:
        return None
    victims: list[IdleAsset] = []
    for asset in in_order(idle):
        victims.append(asset)
        if freed_nbytes(victims, shares) >= need_nbytes:
            break
    for asset in reversed(victims[:-1]):
        others = [victim for victim in victims if victim is not asset]
        if freed_nbytes(others, shares) >= need_nbytes:
            victims = others
    return tuple(victims)


def in_order(idle: Iterable[_Candidate]) -> list[_Candidate]:
    """Sort candidates by the order in which they would be evicted; those that shared components or sizes spare included."""
    return sorted(idle, key=_order)


def freed_nbytes(victims: Sequence[IdleAsset], shares: Shares) -> int:
    """Sum the bytes that become free if all of `victims` leave together."""
    going: dict[ComponentId, int] = {}
    for victim in victims:
        for component in victim.components:
            going[component] = going.get(component, 0) + 1
    return sum(shares.nbytes[component] for component, count in going.items() if count == shares.owners[component])


def _order(candidate: Idle | IdleAsset) -> tuple[bool, float, float]:
    if candidate.wanted is None:
        return False, 0, candidate.last_used
    return True, -candidate.wanted, candidate.last_used


def _groups(idle: Sequence[Idle]) -> list[list[Idle]]:
    groups: dict[tuple[bool, float, float], list[Idle]] = {}
    for candidate in in_order(idle):
        groups.setdefault(_order(candidate), []).append(candidate)
    return list(groups.values())


def _fewest_bytes(group: list[Idle], need_nbytes: int) -> list[Idle]:
    """Find the subset that frees enough with the fewest bytes; all of the group if that is not enough."""
    if sum(candidate.nbytes for candidate in group) <= need_nbytes:
        return group
    if len(group) > _EXHAUSTIVE:
        return _largest_first(group, need_nbytes)
    subsets = (subset for size in range(1, len(group) + 1) for subset in combinations(group, size))
    enough = (subset for subset in subsets if sum(candidate.nbytes for candidate in subset) >= need_nbytes)
    return list(min(enough, key=lambda subset: sum(candidate.nbytes for candidate in subset)))


def _largest_first(group: list[Idle], need_nbytes: int) -> list[Idle]:
    chosen: list[Idle] = []
    for candidate in sorted(group, key=lambda candidate: -candidate.nbytes):
        if need_nbytes <= 0:
            break
        chosen.append(candidate)
        need_nbytes -= candidate.nbytes
    return chosen


def _without_needless(victims: list[Idle], spare_nbytes: int) -> tuple[Idle, ...]:
    """Let victims stay, most recently used first, if the others free enough without them."""
    kept: list[Idle] = []
    for victim in reversed(victims):
        if victim.nbytes <= spare_nbytes:
            spare_nbytes -= victim.nbytes
        else:
            kept.append(victim)
    return tuple(reversed(kept))
