"""Divides memory between the pools of one process: each takes the bytes that its settings state, the others share the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import RLock

Memory = str
"""Name of a device, or of the host's memory."""
Grants = Mapping[Memory, int]
"""Bytes of each memory that one pool may use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What one pool would use of one memory if no other pool did."""

    nbytes: int
    stated: bool
    """Whether the settings state this budget; a default budget is divided."""


@dataclass(eq=False, slots=True, kw_only=True)
class Share:
    """One pool's part."""

    claims: Mapping[Memory, Claim]
    on_change: Callable[[Grants], object]
    granted: Grants


class BudgetShares:
    """The pools of one process and their claims. Thread-safe, because applications may run in threads of their own."""

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._lock = RLock()

    def join(self, claims: Mapping[Memory, Claim], on_change: Callable[[Grants], object]) -> Share:
        """Add a pool.

        Args:
            claims: by memory.
            on_change: called with what the pool may use, now and when other pools join and leave; from any thread.
        """
        share = Share(claims=claims, on_change=on_change, granted={})
        with self._lock:
            self._shares.append(share)
            self._divide()
        return share

    def leave(self, share: Share) -> None:
        """Remove a pool; the others divide what it had."""
        with self._lock:
            self._shares.remove(share)
            self._divide()

    def pools_of(self, memory: Memory) -> int:
        """Return the number of pools that use a memory."""
        with self._lock:
            return sum(memory in share.claims for share in self._shares)

    def _divide(self) -> None:
        for share in self._shares:
            granted = {memory: self._granted(memory, claim) for memory, claim in share.claims.items()}
            if granted != share.granted:
                share.granted = granted
                share.on_change(granted)

    def _granted(self, memory: Memory, claim: Claim) -> int:
        return granted_nbytes(claim, [share.claims[memory] for share in self._shares if memory in share.claims])


def granted_nbytes(claim: Claim, claims: Sequence[Claim]) -> int:
    """Return the bytes that one of several claims on the same memory gets.

    Args:
        claim: one of `claims`.
        claims: of all pools that use the memory.
    """
    if claim.stated:
        return claim.nbytes
    stated_nbytes = sum(other.nbytes for other in claims if other.stated)
    sharing = sum(not other.stated for other in claims)
    return max(0, claim.nbytes - stated_nbytes) // sharing
