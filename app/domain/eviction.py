"""Which models make room for another: a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

from .model import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """An idle model that may be evicted."""

    name: ModelName
    version: str
    nbytes: int
    last_used: float
    """Clock reading in seconds."""
    wanted: bool = False
    """Whether requests wait for it; such a model goes last."""


def plan_eviction(idle: Sequence[Resident], need_nbytes: int) -> tuple[Resident, ...] | None:
    """The least recently used models that together free at least `need_nbytes`, oldest first.

    Returns:
        The residents, none of them where nothing needs to be freed; None where evicting all of `idle` is not enough.
    """
    if need_nbytes <= 0:
        return ()
    victims: list[Resident] = []
    for resident in sorted(idle, key=lambda candidate: (candidate.wanted, candidate.last_used)):
        victims.append(resident)
        need_nbytes -= resident.nbytes
        if need_nbytes <= 0:
            return tuple(victims)
    return None
