"""A worker: a Ray Serve replica that owns a device, with the pool and the dispatcher of this process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from ..domain.errors import DiffusionError
from ..domain.jobs.failures import failure_of
from ..domain.requests.progress import OnProgress, Progress
from .autoscaling import WAIT_METRIC
from .messages import Answer, Call, DryRunCall, Failed, GenerateCall, Message, UpscaleCall

if TYPE_CHECKING:
    from ..lifecycle import Services
    from ..settings import Settings


class Worker:
    """Answers calls with the services of this process. Serve makes one in each replica."""

    def __init__(self, settings: "Settings", build: "Callable[[Settings], Services] | None" = None) -> None:
        """Make a worker that has not started.

        Args:
            settings: of the cluster; its jobs are those of the ingress.
            build: makes the services; for tests with fakes.
        """
        self._settings = settings
        self._build = build or _build
        self._services: Services | None = None
        self._life = AsyncExitStack()
        self._starting = asyncio.Lock()

    async def answer(self, call: Call) -> AsyncIterator[Message]:
        """Yield reports of progress, then the answer or the failure. Ends the work if the stream is closed."""
        services = await self.started()
        messages: asyncio.Queue[Message] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def report(progress: Progress) -> None:  # from threads of the engine, too
            loop.call_soon_threadsafe(messages.put_nowait, progress)

        work = asyncio.create_task(_work(services, call, report))
        work.add_done_callback(lambda done: messages.put_nowait(_end(done)) if not done.cancelled() else None)
        try:
            while True:
                message = await messages.get()
                yield message
                if isinstance(message, Failed | Answer):
                    return
        finally:
            if not work.done():
                work.cancel()
                with suppress(asyncio.CancelledError):
                    await work

    async def started(self) -> "Services":
        """Return the services, which the first call starts in the event loop that all calls run in."""
        async with self._starting:
            if self._services is None:
                services = self._build(self._settings)
                await self._life.enter_async_context(services.running())
                self._services = services
        return self._services

    async def stop(self) -> None:
        """Finish what runs, and free the device."""
        await self._life.aclose()

    def check_health(self) -> None:
        """Raise if the device does not answer: Serve replaces this replica then.

        Raises:
            RuntimeError: the watchdog says so.
        """
        if self._services is not None and (reason := self._services.dispatcher.unresponsive_because) is not None:
            raise RuntimeError(reason)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell the autoscaler the estimated seconds that a new request would wait here."""
        return {WAIT_METRIC: self._services.dispatcher.wait_s() if self._services is not None else 0.0}


def _build(settings: "Settings") -> "Services":
    from ..bootstrap import build

    return build(settings)


async def _work(services: "Services", call: Call, on_progress: OnProgress) -> Answer:
    match call:
        case GenerateCall():
            return await services.generator.generate(
                call.model,
                call.parameters,
                job_id=call.job_id,
                client=call.client,
                on_progress=on_progress,
                previews=call.previews,
            )
        case UpscaleCall():
            return await services.upscaler.upscale(
                call.parameters, job_id=call.job_id, client=call.client, on_progress=on_progress
            )
        case DryRunCall():
            return await services.dry_runs.run(call.model, call.parameters, call.client)


def _end(done: "asyncio.Future[Answer]") -> Message:
    """Return how the work has ended; an error that is not ours becomes one that says so."""
    error = done.exception()
    if error is None:
        return done.result()
    if not isinstance(error, DiffusionError):
        error = DiffusionError(f"An unexpected error ended the request on its worker: {error!r}.")
    return Failed(failure_of(error))
