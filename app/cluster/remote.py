"""The ports of an ingress replica: what they do is done by a worker."""

import uuid
from collections.abc import Callable
from typing import Protocol, cast

from ..domain.dispatch.job import BeforeLoad
from ..domain.dry_run import DryRunResult
from ..domain.generator import Generated, ImageGenerator, Work
from ..domain.models.spec import ModelName
from ..domain.requests.early_end import EarlyEnd
from ..domain.requests.parameters import GenerationParameters
from ..domain.requests.progress import OnProgress, Progress
from ..domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ..domain.upscaling import Upscaled
from .messages import Answer, Call, DryRunCall, GenerateCall, UpscaleCall


class CallsWorkers(Protocol):
    """What `Workers` does, for tests without Ray."""

    async def call(self, call: Call, on_progress: Callable[[Progress], None] = ...) -> Answer:
        """Have a worker answer; see `Workers.call`."""
        ...


def _unheard(_progress: Progress) -> None:
    """Listen to nothing."""


class RemoteImageGenerator:
    """Implements `ImageGenerator`: checks here, with the files of this machine, and makes images on a worker.

    A worker queues what it is sent, so the shares of clients are fair for each worker, and its limits hold for each one.
    """

    def __init__(
        self,
        workers: CallsWorkers,
        local: ImageGenerator,
        on_generated: Callable[[Generated], None] = lambda _generated: None,
    ) -> None:
        """Make a generator.

        Args:
            workers: make the images.
            local: checks requests; makes none.
            on_generated: receives every finished request and must return at once.
        """
        self._workers = workers
        self._local = local
        self._on_generated = on_generated

    async def generate(
        self,
        model: str,
        parameters: GenerationParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
        previews: bool = False,
        early_end: EarlyEnd | None = None,  # noqa: ARG002 - a worker cannot be told; the request runs to its end
        before_load: BeforeLoad | None = None,
    ) -> Generated:
        """Make images on a worker; see `ImageGenerator.generate`."""
        name = await self._local.check(model, parameters)
        call = GenerateCall(
            model=name, parameters=parameters, job_id=job_id or uuid.uuid4().hex, client=client, previews=previews
        )
        if before_load is not None:
            await before_load()  # a load may end a worker, and what waits for it here with it
        generated = cast(Generated, await self._workers.call(call, on_progress or _unheard))
        self._on_generated(generated)
        return generated

    async def model_of(self, model: str) -> ModelName:
        """Return the name of an entry; see `ImageGenerator.model_of`."""
        return await self._local.model_of(model)

    async def check(self, model: str, parameters: GenerationParameters) -> ModelName:
        """Check a request without files; see `ImageGenerator.check`."""
        return await self._local.check(model, parameters)

    async def work(self, model: str, parameters: GenerationParameters) -> Work:
        """Return what a request would cost; see `ImageGenerator.work`."""
        return await self._local.work(model, parameters)

    def refuse_if_full(self, client: str) -> None:
        """Refuse if this process ends; whether its queue is full, the worker says."""
        self._local.refuse_if_full(client)


class RemoteImageUpscaler:
    """Implements `ImageUpscaler`."""

    def __init__(self, workers: CallsWorkers, on_upscaled: Callable[[Upscaled], None] = lambda _upscaled: None) -> None:
        self._workers = workers
        self._on_upscaled = on_upscaled

    async def upscale(
        self,
        parameters: UpscaleParameters,
        *,
        job_id: str | None = None,
        client: str = "",
        on_progress: OnProgress | None = None,
    ) -> Upscaled:
        """Enlarge a picture on a worker; see `ImageUpscaler.upscale`."""
        call = UpscaleCall(parameters=parameters, job_id=job_id or uuid.uuid4().hex, client=client)
        upscaled = cast(Upscaled, await self._workers.call(call, on_progress or _unheard))
        self._on_upscaled(upscaled)
        return upscaled


class RemoteDryRuns:
    """Implements `DryRuns`."""

    def __init__(self, workers: CallsWorkers) -> None:
        self._workers = workers

    async def run(self, model: str, parameters: GenerationParameters, client: str = "") -> DryRunResult:
        """Ask the worker that would most likely get the request."""
        call = DryRunCall(model=model, parameters=parameters, client=client)
        return cast(DryRunResult, await self._workers.call(call))
