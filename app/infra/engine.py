"""The torch engine: one device, one thread that touches it, and one thread that reads files."""

import asyncio
import queue
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import structlog

from ..domain.generation import GenerationRequest
from ..domain.model import DtypeName, ModelSpec
from ..domain.ports import LAVISH, ComponentId, Frugality, LoadedModel, OnLoad, OnStep, Rendered

if TYPE_CHECKING:
    from .runtime import FetchRepository, Runtime

_log = structlog.get_logger()
_T = TypeVar("_T")
_Move = tuple[Callable[[Collection[ComponentId]], None], Collection[ComponentId], "Future[None]"]


class TorchEngine:
    """Fulfils the `Engine` port. torch is imported by `start`, in the engine's thread, and never before."""

    def __init__(
        self,
        *,
        device: str,
        dtype: DtypeName,
        threads: int,
        fetch: "FetchRepository",
        read_by: Literal["plain", "mmap"] = "plain",
    ) -> None:
        self._options: dict[str, Any] = {
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "fetch": fetch,
            "read_by": read_by,
        }
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self._downloader = ThreadPoolExecutor(max_workers=4, thread_name_prefix="downloader")
        self._moves: queue.SimpleQueue[_Move] = queue.SimpleQueue()
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
        self, model: LoadedModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH
    ) -> Rendered:
        """Make the images of a request; between its steps, weights of others begin to move."""

        def on_each_step(done: int, total: int) -> None:
            self._make_moves()
            on_step(done, total)

        return await self._in_engine(self._running.generate, model, request, on_each_step, frugality)

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
        from .runtime import Runtime  # here, because it imports torch

        self._runtime = runtime = Runtime(**self._options)
        _log.info(
            "engine_started",
            device=self.device,
            dtype=runtime.default_dtype,
            threads=runtime.threads,
            seconds=round(time.perf_counter() - begun, 2),
        )

    async def _move(self, function: Callable[[Collection[ComponentId]], None], ids: Collection[ComponentId]) -> None:
        """Have the engine's thread move weights: between two steps if it is busy, at once otherwise."""
        done: Future[None] = Future()
        self._moves.put((function, ids, done))
        self._thread.submit(self._make_moves)
        await asyncio.wrap_future(done)

    def _make_moves(self) -> None:
        """Make the moves that were asked for. Engine thread only."""
        while True:
            try:
                function, ids, done = self._moves.get_nowait()
            except queue.Empty:
                return
            try:
                function(ids)
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

    async def _in_engine(self, function: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)
