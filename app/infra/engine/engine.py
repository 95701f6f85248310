"""The torch engine: one device, one thread that touches it, and one thread that reads files."""

import asyncio
import atexit
import gc
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from ...domain.errors import GenerationFailed, ShuttingDown
from ...domain.models.components import ComponentId, LoadedModel, OnLoad
from ...domain.models.spec import DtypeName, ModelSpec
from ...domain.requests.rendering import NO_SAVINGS, MemorySavings, OnPreview, OnStep, RenderResult
from ...domain.requests.request import GenerationRequest

if TYPE_CHECKING:
    from .device_worker import FetchRepository, Runtime

_log = structlog.get_logger()
_T = TypeVar("_T")


class TorchEngine:
    """Fulfils the `Engine` port. torch is imported by `start`, in the engine's thread, and never before."""

    def __init__(
        self,
        *,
        device: str,
        dtype: DtypeName,
        threads: int,
        fetch: "FetchRepository",
        prompt_cache_nbytes: int = 64 * 1024**2,
    ) -> None:
        self._options: dict[str, Any] = {
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "fetch": fetch,
            "prompt_cache_nbytes": prompt_cache_nbytes,
        }
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._downloader = ThreadPoolExecutor(max_workers=4, thread_name_prefix="downloader")
        self._stepping = False
        self._starting: asyncio.Task[None] | None = None
        self._runtime: Runtime | None = None

    @property
    def started(self) -> bool:
        """Whether the device is claimed and models can be loaded."""
        return self._runtime is not None

    @property
    def device(self) -> str:
        """As torch names it; what the settings say until the engine has started."""
        return str(self._runtime.device) if self._runtime else str(self._options["device"])

    @property
    def shares_host_memory(self) -> bool:
        """Whether the device is the CPU."""
        return self._running.device.type == "cpu"

    def memory_nbytes(self) -> int:
        """Bytes of memory of the device."""
        return self._running.memory_nbytes()

    def element_nbytes(self, spec: ModelSpec) -> int:
        """Bytes of one number in the dtype that the model computes in here."""
        return self._running.computed_in(spec).itemsize

    async def start(self) -> None:
        """Import torch and claim the device, once however often it is called. Takes seconds."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._in_engine(self._start))
        await asyncio.shield(self._starting)

    def weights_nbytes(self, spec: ModelSpec) -> int:
        """Bytes of host memory that loading the model will take, from headers alone."""
        return self._running.weights_nbytes(spec)

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Download a repository; several downloads may go on at once, and loads meanwhile."""
        await self.start()
        await asyncio.get_running_loop().run_in_executor(self._downloader, self._running.fetch, spec, on_load)

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights into host memory, in the loader's thread: what runs on the device goes on meanwhile."""
        await self.start()
        return await asyncio.get_running_loop().run_in_executor(self._loader, self._running.load, spec, on_load)

    async def place(self, components: Collection[ComponentId]) -> None:
        """Copy weights to the device; begins at the next step of what runs there."""
        await self._move(self._running.place, components)
        await asyncio.get_running_loop().run_in_executor(self._loader, self._running.arrived)

    async def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies, at the next step of what runs there."""
        await self._move(self._running.offload, components)

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:
        """Free the weights that no other model has, in the loader's thread: nothing that runs uses them."""
        await asyncio.get_running_loop().run_in_executor(self._loader, self._running.unload, model, reuse)

    async def generate(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        on_step: OnStep,
        memory_savings: MemorySavings = NO_SAVINGS,
        at_once: int = 1,
        on_preview: OnPreview | None = None,
    ) -> RenderResult:
        """Make the images of a request; it joins those that run at their next step."""
        result = self._running.join(model, request, on_step, memory_savings, at_once, on_preview)
        self._thread.submit(self._wake)
        return await asyncio.wrap_future(result)

    async def stop(self) -> None:
        """End both threads, once they are done with what they are doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)
        self._downloader.shutdown(wait=False, cancel_futures=True)

    @property
    def _running(self) -> "Runtime":
        if self._runtime is None:
            raise RuntimeError("the engine has not started: await start() first")
        return self._runtime

    def _start(self) -> None:
        begun = time.perf_counter()
        from .device_worker import Runtime  # here, because it imports torch

        self._runtime = runtime = Runtime(**self._options)
        _spare_the_collector()
        _log.info(
            "engine_started",
            device=self.device,
            computed_in=str(runtime.computed_in()).removeprefix("torch."),
            threads=runtime.threads,
            seconds=round(time.perf_counter() - begun, 2),
        )

    async def _move(self, function: Callable[[Collection[ComponentId]], None], ids: Collection[ComponentId]) -> None:
        """Have the engine's thread move weights: between two steps if it is busy, at once otherwise."""
        await self._in_engine(function, ids)

    def _wake(self) -> None:
        """Begin to step, unless that is being done. Engine thread only."""
        if not self._stepping:
            self._stepping = True
            self._step()

    def _step(self) -> None:
        """Take one step, then stand in line again, behind whatever was asked of this thread meanwhile."""
        try:
            left = self._running.step()
        except Exception:
            _log.exception("step_failed")
            self._running.abandon(GenerationFailed("The engine failed between two steps; the server's log says how."))
            left = False
        self._stepping = left
        if left:
            try:
                self._thread.submit(self._step)
            except RuntimeError:  # the engine was stopped
                self._running.abandon(ShuttingDown("The server is shutting down."))

    async def _in_engine(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)


def _spare_the_collector() -> None:
    """What was imported stays: looking through it, the garbage collector would halt every thread for 0.2 s at a time.

    At the end of the process it may look again: libraries complain of what is left then.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)
