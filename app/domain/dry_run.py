"""Dry run: tells what a request would do; nothing is loaded, queued or evicted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .dispatch.lanes import steps_of
from .memory.eviction.eviction_preview import EvictionPreview
from .memory.plan import Fallback, Plan, saved, warnings
from .models.spec import ModelName, ModelSpec
from .placement.dispatcher import MachineDispatcher
from .placement.serving_device import ServingDevice
from .requests.inspection import Inspection, Inspector
from .requests.parameters import GenerationParameters
from .requests.passes import outlines
from .requests.render_request import RenderRequest
from .requests.request import GenerationRequest
from .requests.resolving.resolver import RequestResolver
from .requests.upscaling.upscale_request import UpscaleRequest


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
class PlannedPass:
    """One run on the device: a pass, or the work of an upscaler between two."""

    model: ModelName
    """Name of the model or the upscaler in the pool."""
    width: int
    height: int
    steps: int
    """Steps of all images, or tiles."""
    plan: Plan
    run_s: float | None
    """Estimated seconds; None before the model has made an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRunResult:
    """The resolved request, its memory plan and its estimated times, if it came now."""

    spec: ModelSpec
    request: GenerationRequest
    inspection: Inspection
    weights_nbytes: int | None
    """Bytes of the model's weights in host memory, and again in device memory if that is separate; None before the download."""
    passes: tuple[PlannedPass, ...]
    """What runs on the device, in order."""
    activation_nbytes: int
    """Predicted bytes of activations for one image at a time, corrected by observed peaks; of the pass with the most."""
    available_nbytes: int | None
    """Bytes of the budget for weights and activations together; None before the download."""
    savings: tuple[Fallback, ...]
    """Memory fallbacks that it would begin with, because memory is short."""
    eviction_preview: EvictionPreview
    device: str
    """Name of the device on which it would begin first."""
    download: bool
    """Whether the model's files would be downloaded first."""
    before: int
    """Number of requests that wait or run now."""
    estimate: Estimate
    warnings: tuple[str, ...]


class DryRuns(Protocol):
    """Tells what a request would do, with the pool of this process or of a cluster."""

    async def run(self, model: str, parameters: GenerationParameters, client: str = "") -> DryRunResult:
        """Report what `ImageGenerator.generate` would do with these parameters now.

        Raises:
            DiffusionError: the error with which the request would fail, if that is known before it runs.
        """
        ...


class DryRun:
    """Performs the steps of a request up to its memory plan, without fetching the files."""

    def __init__(self, resolver: RequestResolver, dispatcher: MachineDispatcher, inspector: Inspector) -> None:
        self._resolver = resolver
        self._dispatcher = dispatcher
        self._inspector = inspector

    async def run(self, model: str, parameters: GenerationParameters, client: str = "") -> DryRunResult:
        """Report what `ImageGenerator.generate` would do with these parameters now. Starts the engine, as that does.

        Raises:
            DiffusionError: the error with which the request would fail, if that is known before it runs. A full queue is; a
                device that runs out of memory is not.
        """
        spec, uploads = await self._resolver.checked(model, parameters)
        resolved = await self._resolver.resolved(parameters, spec, uploads)
        upscaler = (await self._resolver.additions(parameters, spec)).upscaler
        request = resolved.request
        await self._dispatcher.devices.start()
        device = self._dispatcher.device_for(spec.name)
        passes = tuple(_planned(device, outline, spec, upscaler) for outline in outlines(request))
        plan = max((each.plan for each in passes if each.model == spec.name), key=lambda plan: plan.activation_nbytes)
        self._dispatcher.refuse_if_full(client)
        device.dispatcher.refuse_if_too_long(outlines(request))
        eviction_preview = device.pool.preview_evictions(
            spec.name, plan.activation_nbytes, together_nbytes=plan.step_nbytes, beside=request.assets.beside
        )
        weights = _weights_nbytes(device, spec, request)
        inspection = await self._inspector.inspect(spec, request)
        savings: tuple[Fallback, ...] = tuple(
            dict.fromkeys(saving for each in passes for saving in saved(each.plan.memory_savings))
        )
        return DryRunResult(
            spec=spec,
            request=request,
            inspection=inspection,
            weights_nbytes=weights,
            passes=passes,
            activation_nbytes=plan.activation_nbytes,
            available_nbytes=plan.room_nbytes + weights if weights is not None else None,
            savings=savings,
            eviction_preview=eviction_preview,
            device=device.name,
            download=not spec.on_disk,
            before=self._dispatcher.depth,
            estimate=self._estimate(device, spec, passes, eviction_preview),
            warnings=_not_on_disk(spec) + resolved.warnings + inspection.warnings + warnings(savings),
        )

    def _estimate(
        self,
        device: ServingDevice,
        spec: ModelSpec,
        passes: Sequence[PlannedPass],
        eviction_preview: EvictionPreview,
    ) -> Estimate:
        """Estimate the times; a model that must be loaded takes as long as its last load."""
        status = device.pool.status(spec.name)
        known = status.swap_s if status.swap_nbytes else None
        return Estimate(
            wait_s=self._dispatcher.wait_s(),
            load_s=0.0 if eviction_preview.residency == "device" else known,
            run_s=_sum(each.run_s for each in passes),
        )


def _weights_nbytes(device: ServingDevice, spec: ModelSpec, request: GenerationRequest) -> int | None:
    own = device.engine.loader.weights_nbytes(spec)
    return own + sum(map(device.pool.expected_nbytes, request.assets.beside)) if own else None


def _planned(device: ServingDevice, outline: RenderRequest, spec: ModelSpec, upscaler: ModelSpec | None) -> PlannedPass:
    if isinstance(outline, UpscaleRequest):
        assert upscaler is not None
        spec = replace(upscaler, name=outline.model)
    return PlannedPass(
        model=outline.model,
        width=outline.width,
        height=outline.height,
        steps=steps_of(outline),
        plan=device.dispatcher.plan(spec, outline),
        run_s=device.dispatcher.seconds(outline),
    )


def _sum(seconds: Iterable[float | None]) -> float | None:
    """Add up seconds; None if one is unknown."""
    known = list(seconds)
    return None if None in known else sum(each for each in known if each is not None)


def _not_on_disk(spec: ModelSpec) -> tuple[str, ...]:
    """Return a warning if the files are missing: defaults are then guessed from the name of the repository."""
    if spec.on_disk:
        return ()
    return (
        f"Model {spec.name!r} has not been downloaded yet: the defaults of parameters that you leave out may change after the "
        "download.",
    )
