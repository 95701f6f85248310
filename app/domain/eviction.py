"""Which models make room for another: a pure function."""

from collections.abc import Sequence
from dataclasses import dataclass

from .model import ModelName


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """An idle model that may be evicted."""

    name: ModelName
    nbytes: int
    last_used: float
    """Clock reading in seconds."""


def plan_eviction(idle: Sequence[Resident], need_nbytes: int) -> tuple[ModelName, ...] | None:
    """The least recently used models that together free at least `need_nbytes`, oldest first.

    Returns:
        The names, none of them where nothing needs to be freed; None where evicting all of `idle` is not enough.
    """
    if need_nbytes <= 0:
        return ()
    victims: list[ModelName] = []
    for resident in sorted(idle, key=lambda candidate: candidate.last_used):
        victims.append(resident.name)
        need_nbytes -= resident.nbytes
        if need_nbytes <= 0:
            return tuple(victims)
    return None
