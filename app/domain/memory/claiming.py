"""Grants reservations, first come first served: evicts what is idle, and waits for what is in use."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from ..engine import ModelLoader
from ..models.assets import AssetSpec, key_of
from ..models.components import Component, ComponentId
from ..models.spec import ModelName, ModelSpec
from ..uncancellable import run_to_completion
from .admission import (
    Fits,
    Offload,
    Unload,
    Wait,
    lacks_host_memory,
    next_step,
    refuse_impossible,
    takes_host_memory,
)
from .eviction.eviction_reason import EvictionCause, EvictionReason
from .host_tier import HostTier
from .ledger import Ledger, PooledAsset, Reservation
from .unloading import AssetUnloading


class AssetClaiming:
    """Reserves memory in the ledger. Event loop only."""

    def __init__(
        self,
        ledger: Ledger,
        loader: ModelLoader,
        unloading: AssetUnloading,
        host: HostTier,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._loader = loader
        self._unloading = unloading
        self._host = host
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
                self._refuse_impossible(reservation)
                begun = self._clock()
                async with self._turn_on_host(reservation):
                    waited += self._clock() - begun
                    step = await self._step_towards_room(reservation)
                    while step != "room" and lacks_host_memory(self._ledger, reservation):
                        waited += await self._changed(step)
                        self._refuse_impossible(reservation)
                        step = await self._step_towards_room(reservation)
                    if step == "room":
                        for pooled in reservation.assets:
                            pooled.reservations.append(reservation)
                        return waited
                waited += await self._changed(step)

    @asynccontextmanager
    async def _turn_on_host(self, reservation: Reservation) -> AsyncGenerator[None]:
        """Keep others from taking host memory, if a reservation takes some.

        While it waits for memory of its device alone, requests of other devices may go before it.
        """
        if not takes_host_memory(self._ledger, reservation):
            yield
            return
        async with self._host.turn:
            yield

    async def _changed(self, step: Literal["room", "evicted", "wait"]) -> float:
        """Wait for a change, unless one was made; return the seconds."""
        if step != "wait":
            return 0.0
        begun = self._clock()
        await self._unloading.change()
        return self._clock() - begun

    def _refuse_impossible(self, reservation: Reservation) -> None:
        for pooled in reservation.assets:
            self.expect(pooled)
        refuse_impossible(self._ledger, reservation)

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
