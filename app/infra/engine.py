"""The torch engine: one device, one thread that touches it, and one thread that reads files."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from ..domain.generation import GenerationRequest
from ..domain.model import DtypeName, ModelSpec
from ..domain.ports import LAVISH, Frugality, LoadedModel, OnLoad, OnStep, Rendered

if TYPE_CHECKING:
    from .runtime import FetchRepository, Runtime

_log = structlog.get_logger()
_T = TypeVar("_T")


class TorchEngine:
    """Fulfils the `Engine` port. torch is imported by `start`, in the engine's thread, and never before."""

    def __init__(self, *, device: str, dtype: DtypeName, threads: int, fetch: "FetchRepository") -> None:
        self._options: dict[str, Any] = {"device": device, "dtype": dtype, "threads": threads, "fetch": fetch}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
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
        """Bytes of one number in the dtype that the model runs in here."""
        return self._running.dtype_of(spec).itemsize

    async def start(self) -> None:
        """Import torch and claim the device, once however often it is called. Takes seconds."""
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._in_engine(self._start))
        await asyncio.shield(self._starting)

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights into host memory, in the loader's thread: what runs on the device goes on meanwhile."""
        await self.start()
        return await asyncio.get_running_loop().run_in_executor(self._loader, self._running.load, spec, on_load)

    async def place(self, model: LoadedModel) -> None:
        """Copy the weights to the device."""
        await self._in_engine(self._running.place, model)

    async def offload(self, model: LoadedModel) -> None:
        """Drop the device's copy of the weights."""
        await self._in_engine(self._running.offload, model)

    async def unload(self, model: LoadedModel) -> None:
        """Free the weights everywhere."""
        await self._in_engine(self._running.unload, model)

    async def generate(
        self, model: LoadedModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH
    ) -> Rendered:
        """Make the images of a request."""
        return await self._in_engine(self._running.generate, model, request, on_step, frugality)

    async def stop(self) -> None:
        """End both threads, once they are done with what they are doing."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    @property
    def _running(self) -> "Runtime":
        if self._runtime is None:
            raise RuntimeError("the engine has not started: await start() first")
        return self._runtime

    def _start(self) -> None:
        begun = time.perf_counter()
        from .runtime import Runtime  # here, because it imports torch

        self._runtime = runtime = Runtime(**self._options)
        _log.info(
            "engine_started",
            device=self.device,
            dtype=runtime.default_dtype,
            threads=runtime.threads,
            seconds=round(time.perf_counter() - begun, 2),
        )

    async def _in_engine(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
