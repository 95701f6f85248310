"""Grants reservations, first come first served: evicts what is idle, and waits for what is in use."""

import asyncio
from collections.abc import Callable
from typing import Literal

from ..engine import ModelLoader
from ..models.assets import AssetSpec, key_of
from ..models.components import Component, ComponentId
from ..models.spec import ModelName, ModelSpec
from ..uncancellable import run_to_completion
from .admission import Fits, Offload, Unload, Wait, next_step, refuse_impossible
from .eviction_reason import EvictionCause, EvictionReason
from .ledger import Ledger, PooledAsset, Reservation
from .unloading import AssetUnloading


class AssetClaiming:
    """Reserves memory in the ledger. Event loop only."""

    def __init__(
        self, ledger: Ledger, loader: ModelLoader, unloading: AssetUnloading, *, clock: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._loader = loader
        self._unloading = unloading
        self._clock = clock
        self._turn = asyncio.Lock()  # asyncio.Lock is fair: first come, first served

    async def claim(self, reservation: Reservation) -> float:
        """Reserve the bytes that a set of assets and its activations need.

        Returns:
            Seconds spent waiting for other requests.

        Raises:
            InsufficientMemory: it would not fit even if the set were alone.
        """
        begun = self._clock()
        waited = 0.0
        async with self._turn:
            waited += self._clock() - begun
            while True:
                for pooled in reservation.assets:
                    self.expect(pooled)
                refuse_impossible(self._ledger, reservation)
                step = await self._step_towards_room(reservation)
                if step == "room":
                    for pooled in reservation.assets:
                        pooled.reservations.append(reservation)
                    return waited
                if step == "wait":
                    begun = self._clock()
                    await self._unloading.change()
                    waited += self._clock() - begun

    def expect(self, pooled: PooledAsset) -> None:
        """Note what an asset will bring that was never loaded."""
        if not pooled.expected:
            pooled.expected = self.guess(pooled.spec)

    def guess(self, spec: AssetSpec) -> tuple[Component, ...]:
        """Stand in for the components of an asset that was never loaded.

        A preset has those of its base. Of other assets only the size is known, not what they share.
        """
        if (twin := self._twin(spec)) is not None:
            return twin.components or twin.expected
        key = key_of(spec)
        guessed = ComponentId(f"{key.kind}:{key.name}@{spec.version}")
        return (Component(id=guessed, name="weights", nbytes=self._loader.weights_nbytes(spec), dtype=""),)

    def _twin(self, spec: AssetSpec) -> PooledAsset | None:
        """Find a model of another name with the same weights, whose components are known."""
        if not isinstance(spec, ModelSpec):
            return None
        others = (
            (pooled, pooled.spec)
            for pooled in self._ledger.current.values()
            if isinstance(pooled.spec, ModelSpec) and pooled.spec.name != spec.name
        )
        return next(
            (
                pooled
                for pooled, other in others
                if other.weights == spec.weights and (pooled.loaded or pooled.expected)
            ),
            None,
        )

    async def _step_towards_room(self, reservation: Reservation) -> Literal["room", "evicted", "wait"]:
        """Evict once, if that helps a reservation; tell whether it fits now, or whether others must give memory back.

        The decision is made anew after each step, because a lease may have been granted or returned during the eviction.
        """
        lead = reservation.lead
        reason = EvictionReason(cause=EvictionCause.ROOM, for_model=ModelName(lead.spec.name))
        match next_step(self._ledger, reservation):
            case Fits():
                return "room"
            case Wait():
                return "wait"
            case Unload(pooled=victim):
                await run_to_completion(self._unloading.unloading(victim, reason, reuse=lead.loaded is None))
            case Offload(copies=copies):
                await run_to_completion(self._unloading.offloading(copies, reason))
        return "evicted"
