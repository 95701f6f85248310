"""The engine in three ports: a loader for each machine, a device and its memory, and a renderer that makes images there."""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

from .errors import DiffusionError
from .models.adapters import AdapterSpec
from .models.assets import AssetSpec
from .models.components import ComponentId, LoadedModel, OnLoad
from .models.spec import ModelSpec
from .models.vaes import VaeSpec
from .requests.render_request import RenderRequest
from .requests.rendering import (
    NO_SAVINGS,
    GiveWay,
    MemorySavings,
    OnPreview,
    OnStep,
    ParkedRun,
    RenderResult,
    stay,
)


class ModelLoader(Protocol):
    """Brings models from disk into host memory, in threads of its own. One for each machine."""

    def weights_nbytes(self, spec: AssetSpec) -> int:
        """Estimate the host memory in bytes that an asset takes if it shares nothing, from headers alone. Call after `start`.

        0 if the files are not on disk yet.
        """
        ...

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Make sure that the model's files are on disk; downloads a repository, does nothing for local files.

        Raises:
            DownloadFailed: the Hub did not deliver.
        """
        ...

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights from disk into host memory; what is in memory already is shared. Needs `fetch` first.

        Raises:
            UnusableModel: the files are broken, or of no family that is served.
            LoadFailed: every other failure.
        """
        ...

    async def load_adapter(self, spec: AdapterSpec, on_load: OnLoad) -> LoadedModel:
        """Read an adapter from disk into host memory.

        Raises:
            UnusableAdapter: the file is broken, or for no family that is served.
            LoadFailed: every other failure.
        """
        ...

    async def load_vae(self, spec: VaeSpec, on_load: OnLoad) -> LoadedModel:
        """Read a VAE from disk into host memory; if a model has the same one there, it is shared.

        Raises:
            UnusableVae: the file is broken, or for no family that is served.
            LoadFailed: every other failure.
        """
        ...

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:
        """Free the weights of an asset, on the device and the host; what others share stays.

        Args:
            model: what `load`, `load_adapter` or `load_vae` returned; unusable afterwards.
            reuse: whether the next `load` is about to need the memory, which spares it a first touch of fresh pages.
        """
        ...


class Device(Protocol):
    """One device and its memory. Its methods wait for the one thread that may touch it, never for the event loop."""

    @property
    def name(self) -> str:
        """Name in torch's spelling: `cpu`, `cuda:0`."""
        ...

    @property
    def shares_host_memory(self) -> bool:
        """Whether its memory is the host's, so that `place` and `offload` move nothing (a CPU)."""
        ...

    def memory_nbytes(self) -> int:
        """Return the size of the device's memory in bytes. Call after `start`."""
        ...

    def element_nbytes(self, spec: ModelSpec) -> int:
        """Return the bytes of one number in the dtype that a model computes in here, 2 or 4. Call after `start`."""
        ...

    async def place(self, components: Collection[ComponentId]) -> None:
        """Copy components from the host to the device, while requests run there.

        Raises:
            OutOfMemory: all of them stay on the host alone.
        """
        ...

    async def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies; the host keeps its own, so no byte moves. Never fails."""
        ...


class Renderer(Protocol):
    """Makes images on one device."""

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
        """Make the images of a request with a model that is on the device. Leaves the model as it was, also after a failure.

        Requests that are here at the same time, of the same weights and size, share each step; a request that must not share
        one must be here alone. Alone and with one image at once, equal requests give equal bytes.

        Args:
            model: what `load` returned.
            request: what to make.
            on_step: receives each step, in the engine's thread.
            memory_savings: means of saving memory to use.
            at_once: number of its images that are made together.
            on_preview: receives the unfinished image a few times a second.
            adapters: what `load_adapter` returned for each adapter of the request's assets, in their order.
            vae: what `load_vae` returned for the VAE of the request's assets; None: the model's own.
            give_way: tells whether to leave the device after the step.
            parked: what the request returned when it gave way; it goes on from there. The model may have been loaded anew.

        Returns:
            The images, or what is needed to go on if the request gave way.

        Raises:
            Cancelled: `on_step` said so.
            OutOfMemory: nothing is left behind; more savings may be the cure.
            NotFinite: NaN or Inf in full precision too.
            GenerationFailed: every other failure.
        """
        ...


class Engine(Protocol):
    """The three ports of one device, and their life. The engines of a machine share one loader."""

    @property
    def loader(self) -> ModelLoader:
        """Brings models into host memory."""
        ...

    @property
    def device(self) -> Device:
        """Holds copies of their weights."""
        ...

    @property
    def renderer(self) -> Renderer:
        """Makes images there."""
        ...

    @property
    def failure(self) -> DiffusionError | None:
        """Reason for which `start` has failed; None before it, while it runs, and after it has succeeded."""
        ...

    async def start(self) -> None:
        """Import what the engine needs and claim the device; seconds the first time, nothing afterwards."""
        ...

    async def stop(self) -> None:
        """Free the device and end the threads."""
        ...


class Machine(Protocol):
    """The engines of all devices of a machine."""

    @property
    def engines(self) -> Sequence[Engine]:
        """One for each device; the first is there from the beginning."""
        ...

    @property
    def complete(self) -> bool:
        """Whether all are known."""
        ...

    async def start(self) -> None:
        """Start all engines; those that fail say so by their `failure`.

        Raises:
            EngineFailed: all of them have failed.
        """
        ...

    async def stop(self) -> None:
        """Stop all engines."""
        ...


class Engines:
    """Fulfils `Machine` with engines that are known from the beginning."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)

    @property
    def engines(self) -> Sequence[Engine]:
        """One for each device."""
        return self._engines

    @property
    def complete(self) -> bool:
        """True."""
        return True

    async def start(self) -> None:
        """Start all engines; see `Machine.start`."""
        await start_all(self._engines)

    async def stop(self) -> None:
        """Stop all engines."""
        for engine in self._engines:
            await engine.stop()


async def start_all(engines: Sequence[Engine]) -> None:
    """Start engines beside each other.

    Raises:
        EngineFailed: all of them have failed; the error is that of the first.
    """
    outcomes = await asyncio.gather(*(engine.start() for engine in engines), return_exceptions=True)
    failures = [outcome for outcome in outcomes if outcome is not None]
    if unforeseen := [failure for failure in failures if not isinstance(failure, DiffusionError)]:
        raise unforeseen[0]
    if len(failures) == len(engines):
        raise failures[0]
