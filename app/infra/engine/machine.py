"""The torch engines of a machine: one for each device, with one loader. torch is imported by `start`."""

import asyncio
from collections.abc import Callable, Sequence
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...domain.engine import start_all
from ...domain.errors import DiffusionError
from ...domain.models.adapters import AdapterSpec
from ...domain.models.assets import AssetSpec
from ...domain.models.components import LoadedModel, LoadProgress, OnLoad
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
from .engine import TorchDevice, TorchRenderer
from .engine_threads import EngineThreads
from .shared_model import SharedModel

if TYPE_CHECKING:
    from .device_worker import FetchRepository, Runtime
    from .shared_host import SharedHost


class TorchMachine:
    """Fulfils `Machine`."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        dtype: DtypeName,
        threads: int,
        fetch: "FetchRepository",
        prompt_cache_nbytes: int = 64 * 1024**2,
        on_device: Callable[[str], None] = lambda _name: None,
    ) -> None:
        """Begin with idle threads.

        Args:
            names: of the devices, in torch's spelling; `auto` alone: all GPUs, or the CPU if there is none.
            dtype: of models that name none of their own.
            threads: CPU threads of torch for each device; 0: the CPUs divided by the devices, or fewer for small work.
            fetch: downloads a repository and returns its folder; blocks.
            prompt_cache_nbytes: host memory in which each model keeps encoded prompts, on each device.
            on_device: called with the name of each device before its memory is used; may refuse it by `EngineFailed`.
        """
        self._names = tuple(names)
        self._dtype: DtypeName = dtype
        self._options: dict[str, Any] = {"threads": threads, "fetch": fetch, "prompt_cache_nbytes": prompt_cache_nbytes}
        self._on_device = on_device
        self._host: SharedHost | None = None
        self._finding = Lock()
        self._starting: asyncio.Task[None] | None = None
        self.loader = MachineLoader(self)
        self._engines = [self._engine(place, name) for place, name in enumerate(self._names)]

    @property
    def engines(self) -> "Sequence[MachineEngine]":
        """One for each device; of `auto`, the first until it has started."""
        return tuple(self._engines)

    @property
    def complete(self) -> bool:
        """Whether all are known."""
        return self._names != ("auto",) or self._host is not None

    @property
    def runtimes(self) -> "list[Runtime]":
        """Those of the devices that have started."""
        return [engine.threads.runtime for engine in self._engines if engine.threads.started]

    async def start(self) -> None:
        """Import torch and claim the devices, once. Takes seconds.

        Raises:
            EngineFailed: none of them can be used.
        """
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start())
        await asyncio.shield(self._starting)

    async def stop(self) -> None:
        """Free the devices and end the threads, once they are done with what they are doing."""
        for engine in self._engines:
            await engine.stop()

    async def _start(self) -> None:
        try:
            await start_all(self._engines)
        except DiffusionError:
            if self._host is None or len(self._host.names) == len(self._engines):
                raise
        assert self._host is not None
        for place in range(len(self._engines), len(self._host.names)):
            self._engines.append(self._engine(place, self._host.names[place]))
        await start_all(self._engines)

    def _engine(self, place: int, name: str) -> "MachineEngine":
        return MachineEngine(EngineThreads(lambda: self._runtime(place), name, self._on_device), self.loader)

    def _runtime(self, place: int) -> "Runtime":
        """Make the runtime of a device, in its engine's thread; the first one finds the devices."""
        from .device_worker import Runtime  # here, because these import torch
        from .shared_host import SharedHost

        with self._finding:
            self._host = host = self._host or SharedHost.of(self._names, self._dtype)
        return Runtime(device=host.names[place], dtype=host.dtype, host=host, **self._options)


class MachineEngine:
    """Fulfils `Engine` for one device of a machine."""

    def __init__(self, threads: EngineThreads, loader: "MachineLoader") -> None:
        self.threads = threads
        self.loader = loader
        self.device = TorchDevice(threads)
        self.renderer = SharedModelRenderer(threads)

    @property
    def failure(self) -> DiffusionError | None:
        """Reason for which `start` has failed."""
        return self.threads.failure

    async def start(self) -> None:
        """Claim the device, once; see `TorchMachine.start`, which starts all."""
        await self.threads.start()

    async def stop(self) -> None:
        """End the threads, once they are done with what they are doing."""
        self.threads.stop()


class MachineLoader:
    """Fulfils `ModelLoader` for all devices of a machine."""

    def __init__(self, machine: TorchMachine) -> None:
        self._machine = machine

    def weights_nbytes(self, spec: AssetSpec) -> int:
        """Estimate the host memory in bytes that an asset will take, from headers alone."""
        return self._first.runtime.weights_nbytes(spec)

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Download a repository; several downloads may go on at once, and loads beside them."""
        await self._machine.start()
        await self._first.run(self._first.downloader, self._first.runtime.fetch, spec, on_load)

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights into host memory, while requests run on the devices."""
        return await self._load(lambda runtime, on_load: runtime.load(spec, on_load), on_load)

    async def load_adapter(self, spec: AdapterSpec, on_load: OnLoad) -> LoadedModel:
        """Read an adapter into host memory."""
        return await self._load(lambda runtime, on_load: runtime.load_adapter(spec, on_load), on_load)

    async def load_vae(self, spec: VaeSpec, on_load: OnLoad) -> LoadedModel:
        """Read a VAE into host memory."""
        return await self._load(lambda runtime, on_load: runtime.load_vae(spec, on_load), on_load)

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:
        """Free the weights that no other model has, on the host and all devices: no running request uses them."""
        assert isinstance(model, SharedModel)
        await self._first.run(self._first.loader, self._unload, model, reuse)

    async def _load(self, load: "Callable[[Runtime, OnLoad], LoadedModel]", on_load: OnLoad) -> LoadedModel:
        await self._machine.start()
        first = self._first
        built = await first.run(first.loader, load, first.runtime, on_load)
        model = SharedModel(tuple(built.components), lambda runtime: load(runtime, _ignore))
        model.built[first.runtime] = built
        return model

    def _unload(self, model: SharedModel, reuse: bool) -> None:
        for runtime, built in model.built.items():
            runtime.unload(built, reuse)
        model.built.clear()
        for runtime in self._machine.runtimes:
            runtime.drop_orphans()

    @property
    def _first(self) -> EngineThreads:
        """Threads of the first device that has started: it reads for all."""
        return next(engine.threads for engine in self._machine.engines if engine.threads.started)


class SharedModelRenderer:
    """Fulfils `Renderer` with models that several devices run."""

    def __init__(self, threads: EngineThreads) -> None:
        self._threads = threads
        self._renderer = TorchRenderer(threads)

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
        """Make the images of a request with the networks of this device, which are built at their first use."""
        return await self._renderer.generate(
            await self._here(model),
            request,
            on_step,
            memory_savings,
            at_once,
            on_preview,
            [await self._here(adapter) for adapter in adapters],
            None if vae is None else await self._here(vae),
            give_way,
            parked,
        )

    async def _here(self, model: LoadedModel) -> LoadedModel:
        assert isinstance(model, SharedModel)
        runtime = self._threads.runtime
        return model.built.get(runtime) or await self._threads.run(self._threads.helper, model.on, runtime)


def _ignore(_progress: LoadProgress) -> None:
    """Ignore the progress of a load that reads no weights."""
