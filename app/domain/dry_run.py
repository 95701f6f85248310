"""Dry run: tells what a request would do; nothing is loaded, queued or evicted."""

import asyncio
from dataclasses import dataclass

from .dispatch.dispatcher import Dispatcher
from .engine import Engine
from .errors import UnusableModel
from .memory.eviction_preview import EvictionPreview
from .memory.plan import Fallback, saved, warnings
from .memory.pool import ModelPool
from .models.catalogue import Catalogues
from .models.embeddings import EmbeddingCatalogue, usable
from .models.spec import ModelSpec
from .requests.additions import find_additions
from .requests.image_reader import ImageReader
from .requests.inspection import Inspection, Inspector
from .requests.parameters import GenerationParameters, Limits
from .requests.request import GenerationRequest
from .requests.resolution import resolve
from .requests.seed import random_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds that a request would take, estimated from earlier requests; None if there are none to estimate from."""

    wait_s: float
    """Seconds that the requests before it take."""
    load_s: float | None
    run_s: float | None

    @property
    def total_s(self) -> float | None:
        """Sum of the three; None if one is unknown."""
        return None if self.load_s is None or self.run_s is None else self.wait_s + self.load_s + self.run_s


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """The resolved request, its memory plan and its estimated times, if it came now."""

    spec: ModelSpec
    request: GenerationRequest
    inspection: Inspection
    weights_nbytes: int | None
    """Bytes of the model's weights in host memory, and again in device memory if that is separate; None before the download."""
    activation_nbytes: int
    """Predicted bytes of activations for one image at a time, corrected by observed peaks."""
    available_nbytes: int | None
    """Bytes of the budget for weights and activations together; None before the download."""
    savings: tuple[Fallback, ...]
    """Memory fallbacks that it would begin with, because memory is short."""
    eviction_preview: EvictionPreview
    download: bool
    """Whether the model's files would be downloaded first."""
    before: int
    """Number of requests that wait or run now."""
    estimate: Estimate
    warnings: tuple[str, ...]


class DryRun:
    """Performs the steps of a request up to its memory plan, without fetching the files."""

    def __init__(
        self,
        catalogues: Catalogues,
        pool: ModelPool,
        dispatcher: Dispatcher,
        engine: Engine,
        inspector: Inspector,
        reader: ImageReader,
        limits: Limits,
        embeddings: EmbeddingCatalogue,
    ) -> None:
        self._catalogues = catalogues
        self._pool = pool
        self._dispatcher = dispatcher
        self._engine = engine
        self._inspector = inspector
        self._reader = reader
        self._limits = limits
        self._embeddings = embeddings

    async def run(self, model: str, parameters: GenerationParameters, client: str = "") -> DryRunResult:
        """Report what `ImageGenerator.generate` would do with these parameters now. Starts the engine, as that does.

        Raises:
            DiffusionError: the error with which the request would fail, if that is known before it runs. A full queue is; a
                device that runs out of memory is not.
        """
        spec = await self._catalogues.models.find(model)
        if spec.unusable is not None:
            raise UnusableModel(spec.name, spec.unusable)
        uploads = await self._reader.read(parameters.image, parameters.mask)
        additions = await find_additions(parameters, spec, self._limits, self._catalogues)
        resolved = await asyncio.to_thread(
            resolve,
            parameters,
            spec,
            self._limits,
            random_seed=random_seed(),
            uploads=uploads,
            additions=additions,
            embeddings=usable(await self._embeddings.list()),
        )
        request = resolved.request
        await self._engine.start()
        plan = self._dispatcher.plan(spec, request)
        self._dispatcher.refuse_if_full(client)
        eviction_preview = self._pool.preview_evictions(
            spec.name, plan.activation_nbytes, together_nbytes=plan.step_nbytes, beside=request.assets.beside
        )
        weights = self._weights_nbytes(spec, request)
        inspection = await self._inspector.inspect(spec, request)
        savings = saved(plan.memory_savings)
        return DryRunResult(
            spec=spec,
            request=request,
            inspection=inspection,
            weights_nbytes=weights,
            activation_nbytes=plan.activation_nbytes,
            available_nbytes=plan.room_nbytes + weights if weights is not None else None,
            savings=savings,
            eviction_preview=eviction_preview,
            download=not spec.on_disk,
            before=self._dispatcher.depth,
            estimate=self._estimate(spec, request, eviction_preview),
            warnings=_not_on_disk(spec) + resolved.warnings + inspection.warnings + warnings(savings),
        )

    def _weights_nbytes(self, spec: ModelSpec, request: GenerationRequest) -> int | None:
        own = self._engine.loader.weights_nbytes(spec)
        return own + sum(map(self._pool.expected_nbytes, request.assets.beside)) if own else None

    def _estimate(self, spec: ModelSpec, request: GenerationRequest, eviction_preview: EvictionPreview) -> Estimate:
        """Estimate the times; a model that must be loaded takes as long as its last load."""
        status = self._pool.status(spec.name)
        known = status.swap_s if status.swap_nbytes else None
        return Estimate(
            wait_s=self._dispatcher.wait_s(),
            load_s=0.0 if eviction_preview.residency == "device" else known,
            run_s=self._dispatcher.seconds(request),
        )


def _not_on_disk(spec: ModelSpec) -> tuple[str, ...]:
    """Return a warning if the files are missing: defaults are then guessed from the name of the repository."""
    if spec.on_disk:
        return ()
    return (
        f"Model {spec.name!r} has not been downloaded yet: the defaults of parameters that you leave out may change after the "
        "download.",
    )
