"""What an engine does on its device: two of the ports of `domain.engine`, over the same threads."""

import asyncio
from collections.abc import Collection, Sequence

from ...domain.models.components import ComponentId, LoadedModel
from ...domain.models.spec import ModelSpec
from ...domain.requests.render_request import RenderRequest
from ...domain.requests.rendering import (
    NO_SAVINGS,
    GiveWay,
    MemorySavings,
    OnPreview,
    OnStep,
    ParkedRun,
    RenderResult,
    stay,
)
from .engine_threads import EngineThreads


class TorchDevice:
    """Fulfils `Device`."""

    def __init__(self, threads: EngineThreads) -> None:
        self._threads = threads

    @property
    def name(self) -> str:
        """Name in torch's spelling; that of the settings until the engine has started."""
        return self._threads.device_name

    @property
    def shares_host_memory(self) -> bool:
        """Whether it is the CPU."""
        return self._threads.runtime.device.type == "cpu"

    def memory_nbytes(self) -> int:
        """Return the size of the device's memory in bytes."""
        return self._threads.runtime.memory_nbytes()

    def element_nbytes(self, spec: ModelSpec) -> int:
        """Return the bytes of one number in the dtype that the model computes in here."""
        return self._threads.runtime.computed_in(spec).itemsize

    async def place(self, components: Collection[ComponentId]) -> None:
        """Copy weights to the device; begins at the next step of what runs there."""
        await self._threads.run(self._threads.helper, self._threads.runtime.prepare, components)
        await self._threads.run(self._threads.engine, self._threads.runtime.place, components)
        # Waited for in another thread: the engine's goes on stepping while the copies are under way.
        await self._threads.run(self._threads.helper, self._threads.runtime.arrived)

    async def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies, at the next step of what runs there."""
        await self._threads.run(self._threads.engine, self._threads.runtime.offload, components)


class TorchRenderer:
    """Fulfils `Renderer`."""

    def __init__(self, threads: EngineThreads) -> None:
        self._threads = threads

    async def generate(
        self,
        model: LoadedModel,
        request: RenderRequest,
        on_step: OnStep,
        memory_savings: MemorySavings = NO_SAVINGS,
        at_once: int = 1,
        on_preview: OnPreview | None = None,
        adapters: Sequence[LoadedModel] = (),
        vae: LoadedModel | None = None,
        give_way: GiveWay = stay,
        parked: ParkedRun | None = None,
    ) -> RenderResult | ParkedRun:
        """Make the images of a request, or go on making them; it joins those that run at their next step."""
        result = self._threads.runtime.join(
            model, request, on_step, memory_savings, at_once, on_preview, adapters, vae, give_way, parked
        )
        self._threads.wake()
        return await asyncio.wrap_future(result)
