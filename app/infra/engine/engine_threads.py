"""The engine's threads: one that touches the device, one that reads files, and some that download."""

import asyncio
import atexit
import gc
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from ...domain.errors import DiffusionError, EngineFailed, GenerationFailed, ShuttingDown
from ...domain.shown import cut
from ...logs import get_logger

if TYPE_CHECKING:
    from .device_worker import Runtime

_log = get_logger(__name__)
_T = TypeVar("_T")


class EngineThreads:
    """Starts the runtime in the engine's thread and has that thread step while there are requests. Event loop only."""

    def __init__(
        self, runtime: "Callable[[], Runtime]", name: str, on_device: Callable[[str], None] = lambda _name: None
    ) -> None:
        """Import nothing yet.

        Args:
            runtime: makes the runtime, in the engine's thread; it imports torch.
            name: of the device in the settings.
            on_device: called with the name of the device before its memory is used; may refuse it by `EngineFailed`.
        """
        self._make_runtime = runtime
        self._name = name
        self._on_device = on_device
        self.engine = ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
        self.loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loader")
        self.helper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="helper")
        """Builds networks over weights that are in memory, and waits for copies."""
        self.downloader = ThreadPoolExecutor(max_workers=4, thread_name_prefix="downloader")
        self._stepping = False
        self._starting: asyncio.Task[None] | None = None
        self._runtime: Runtime | None = None

    @property
    def started(self) -> bool:
        """Whether the device is claimed and models can be loaded."""
        return self._runtime is not None

    @property
    def runtime(self) -> "Runtime":
        """Torch and everything that imports it.

        Raises:
            RuntimeError: before `start`.
        """
        if self._runtime is None:
            raise RuntimeError("the engine has not started: await start() first")
        return self._runtime

    @property
    def device_name(self) -> str:
        """Name of the device; that of the settings until the engine has started."""
        return self._runtime.name if self._runtime else self._name

    async def start(self) -> None:
        """Import torch and claim the device, once. Takes seconds.

        Raises:
            EngineFailed: there is no such device, or its libraries fail; each further call raises the same.
        """
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start_or_say_why())
        await asyncio.shield(self._starting)

    @property
    def failure(self) -> DiffusionError | None:
        """Error of `start`, or of a device that was lost later; None while the device can be used."""
        if self._runtime is not None:
            return self._runtime.lost
        if self._starting is None or not self._starting.done() or self._starting.cancelled():
            return None
        failure = self._starting.exception()
        return failure if isinstance(failure, DiffusionError) else None

    def stop(self) -> None:
        """End the threads, once they are done with what they are doing."""
        for executor in (self.engine, self.loader, self.helper, self.downloader):
            executor.shutdown(wait=False, cancel_futures=True)

    async def run(self, executor: Executor, function: Callable[..., _T], *arguments: Any) -> _T:
        """Call a function in one of the threads. The engine's thread does so between two steps."""
        return await asyncio.get_running_loop().run_in_executor(executor, _no_exit, function, *arguments)

    def wake(self) -> None:
        """Have the engine's thread step, unless it does."""
        self.engine.submit(self._wake)

    async def _start_or_say_why(self) -> None:
        try:
            await self.run(self.engine, self._start)
        except DiffusionError:
            raise
        except Exception as error:
            raise EngineFailed(
                f"torch could not be started ({type(error).__name__}: {cut(str(error))}); the server's log has the "
                "details. Restart the server once that is cured."
            ) from error

    def _start(self) -> None:
        begun = time.perf_counter()
        runtime = self._make_runtime()
        from .family import import_runtimes  # here, because it imports torch

        self._on_device(runtime.name)
        import_runtimes()
        self._runtime = runtime
        _spare_the_collector()
        _log.info(
            "engine_started",
            device=self.device_name,
            computed_in=str(runtime.computed_in()).removeprefix("torch."),
            threads=runtime.threads,
            seconds=round(time.perf_counter() - begun, 2),
        )

    def _wake(self) -> None:
        if not self._stepping:
            self._stepping = True
            self._step()

    def _step(self) -> None:
        """Take one step, then queue the next one behind other work for this thread, such as moves of weights."""
        try:
            left = self.runtime.step()
        except BaseException:  # also SystemExit of a library: otherwise no step would be taken any more
            _log.exception("step_failed")
            self.runtime.abandon(GenerationFailed("The engine failed between two steps; the server's log says how."))
            left = False
        self._stepping = left
        if left:
            try:
                self.engine.submit(self._step)
            except RuntimeError:  # the engine was stopped
                self.runtime.abandon(ShuttingDown("The server is shutting down."))


def _no_exit(function: Callable[..., _T], *arguments: Any) -> _T:
    """Call a function; an attempt of a library to end the process is an error of the request, not the end of the event loop."""
    try:
        return function(*arguments)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"A library tried to end the process: {error!r}.") from error


def _spare_the_collector() -> None:
    """Exempt imported objects from garbage collection: a look through them would halt every thread for 0.2 s.

    At the end of the process they are collectable again: libraries complain of what is left then.
    """
    gc.freeze()
    atexit.register(gc.unfreeze)
