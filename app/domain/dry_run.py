"""What a request would do, without doing it: nothing is loaded, queued or evicted."""

from dataclasses import dataclass

from .dispatch.dispatcher import Dispatcher
from .engine import Engine
from .errors import UnusableModel
from .memory.eviction_preview import EvictionPreview
from .memory.plan import Fallback, saved, warnings
from .memory.pool import ModelPool
from .models.catalogue import Catalogue
from .models.spec import ModelSpec
from .requests.inspection import Inspection, Inspector
from .requests.parameters import GenerationParameters, Limits
from .requests.request import GenerationRequest
from .requests.resolution import resolve
from .requests.seed import random_seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """How long a request would take, in seconds, as far as is known from those before it; None where nothing is."""

    wait_s: float
    """For the requests before it."""
    load_s: float | None
    run_s: float | None

    @property
    def total_s(self) -> float | None:
        """All of it."""
        return None if self.load_s is None or self.run_s is None else self.wait_s + self.load_s + self.run_s


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """What would happen to a request that came now."""

    spec: ModelSpec
    request: GenerationRequest
    inspection: Inspection
    weights_nbytes: int | None
    """Of host memory, and again of the device's where that is another; None before its files are on disk."""
    activation_nbytes: int
    """Predicted, and corrected by what was observed; of images that are made one at a time."""
    available_nbytes: int | None
    """What the budget leaves to weights and activations together; None before the files are on disk."""
    savings: tuple[Fallback, ...]
    """What it would save from the start, because memory is short."""
    eviction_preview: EvictionPreview
    download: bool
    """Whether the model's files would be downloaded first."""
    before: int
    """Requests that wait or run now."""
    estimate: Estimate
    warnings: tuple[str, ...]


class DryRun:
    """Goes through everything that a request goes through before the first byte of it is moved."""

    def __init__(
        self,
        catalogue: Catalogue,
        pool: ModelPool,
        dispatcher: Dispatcher,
        engine: Engine,
        inspector: Inspector,
        limits: Limits,
    ) -> None:
        self._catalogue = catalogue
        self._pool = pool
        self._dispatcher = dispatcher
        self._engine = engine
        self._inspector = inspector
        self._limits = limits

    async def run(self, model: str, parameters: GenerationParameters, client: str = "") -> DryRunResult:
        """What `ImageGenerator.generate` would do with these parameters now. Starts the engine, as that would.

        Raises:
            DiffusionError: what the request would fail with, a full queue included, as far as that can be told beforehand:
                that the device runs out of memory cannot.
        """
        spec = await self._catalogue.find(model)
        if spec.unusable is not None:
            raise UnusableModel(model, spec.unusable)
        resolved = resolve(parameters, spec, self._limits, random_seed=random_seed())
        request = resolved.request
        await self._engine.start()
        plan = self._dispatcher.plan(spec, request)
        self._dispatcher.refuse_if_full(client)
        eviction_preview = self._pool.preview_evictions(model, plan.activation_nbytes, together_nbytes=plan.step_nbytes)
        weights = self._engine.weights_nbytes(spec) or None
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

    def _estimate(self, spec: ModelSpec, request: GenerationRequest, eviction_preview: EvictionPreview) -> Estimate:
        """A model that has to come takes as long as it did the last time."""
        status = self._pool.status(spec.name)
        known = status.swap_s if status.swap_nbytes else None
        return Estimate(
            wait_s=self._dispatcher.wait_s(),
            load_s=0.0 if eviction_preview.residency == "device" else known,
            run_s=self._dispatcher.seconds(request),
        )


def _not_on_disk(spec: ModelSpec) -> tuple[str, ...]:
    """Without the files, defaults are guessed from the repository's name."""
    if spec.on_disk:
        return ()
    return (
        f"Model {spec.name!r} has not been downloaded yet: parameters that you leave out may change with its files.",
    )
