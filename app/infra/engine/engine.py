"""The torch engine: the three ports of `domain.engine` over the same threads."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from ...domain.errors import DiffusionError
from ...domain.models.adapters import AdapterSpec
from ...domain.models.assets import AssetSpec
from ...domain.models.components import ComponentId, LoadedModel, OnLoad
from ...domain.models.spec import DtypeName, ModelSpec
from ...domain.models.vaes import VaeSpec
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

if TYPE_CHECKING:
    from .device_worker import FetchRepository, Runtime


class TorchEngine:
    """Fulfils `Engine`. torch is imported by `start`, in the engine's thread, and never before."""

    def __init__(
        self,
        *,
        device: str,
        dtype: DtypeName,
        threads: int,
        fetch: "FetchRepository",
        prompt_cache_nbytes: int = 64 * 1024**2,
        on_device: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Begin with idle threads.

        Args:
            device: name in torch's spelling, or `auto`.
            dtype: of models that name none of their own.
            threads: CPU threads of torch; 0: chosen by the size of the work.
            fetch: downloads a repository and returns its folder; blocks.
            prompt_cache_nbytes: host memory in which each model keeps encoded prompts.
            on_device: called with the name of the device before its memory is used; may refuse it by `EngineFailed`.
        """

        def runtime() -> "Runtime":
            from .device_worker import Runtime  # here, because it imports torch

            return Runtime(
                device=device, dtype=dtype, threads=threads, fetch=fetch, prompt_cache_nbytes=prompt_cache_nbytes
            )

        self._threads = EngineThreads(runtime, device, on_device)
        self.loader = TorchLoader(self._threads)
        self.device = TorchDevice(self._threads)
        self.renderer = TorchRenderer(self._threads)

    @property
    def started(self) -> bool:
        """Whether the device is claimed and models can be loaded."""
        return self._threads.started

    @property
    def failure(self) -> DiffusionError | None:
        """Reason for which `start` has failed."""
        return self._threads.failure

    async def start(self) -> None:
        """Import torch and claim the device, once. Takes seconds.

        Raises:
            EngineFailed: there is no such device, or its libraries fail.
        """
        await self._threads.start()

    async def stop(self) -> None:
        """End the threads, once they are done with what they are doing."""
        self._threads.stop()


class TorchLoader:
    """Fulfils `ModelLoader`."""

    def __init__(self, threads: EngineThreads) -> None:
        self._threads = threads

    def weights_nbytes(self, spec: AssetSpec) -> int:
        """Estimate the host memory in bytes that an asset will take, from headers alone."""
        return self._threads.runtime.weights_nbytes(spec)

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Download a repository; several downloads may go on at once, and loads beside them."""
        await self._threads.start()
        await self._threads.run(self._threads.downloader, self._threads.runtime.fetch, spec, on_load)

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights into host memory in the loader's thread, while requests run on the device."""
        await self._threads.start()
        return await self._threads.run(self._threads.loader, self._threads.runtime.load, spec, on_load)

    async def load_adapter(self, spec: AdapterSpec, on_load: OnLoad) -> LoadedModel:
        """Read an adapter into host memory in the loader's thread."""
        await self._threads.start()
        return await self._threads.run(self._threads.loader, self._threads.runtime.load_adapter, spec, on_load)

    async def load_vae(self, spec: VaeSpec, on_load: OnLoad) -> LoadedModel:
        """Read a VAE into host memory in the loader's thread."""
        await self._threads.start()
        return await self._threads.run(self._threads.loader, self._threads.runtime.load_vae, spec, on_load)

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:
        """Free the weights that no other model has, in the loader's thread: no running request uses them."""
        await self._threads.run(self._threads.loader, self._threads.runtime.unload, model, reuse)


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
