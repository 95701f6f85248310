"""What happened, counted for Prometheus in a registry of our own.

Nothing here is global, so several plugins in one process, or an application with metrics of its own, do not meet.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram, Info
from prometheus_client.exposition import choose_encoder

from ...domain.generator import Generated
from ...domain.memory.events import (
    AssetLoaded,
    AssetLoadFailed,
    AssetOffloaded,
    AssetPlaced,
    AssetUnloaded,
    LeaseGranted,
    PoolEvent,
)
from ...domain.models.assets import AssetKey
from ...domain.models.spec import HEAT
from ...domain.models.upscalers import pooled_name
from ...domain.placement.dispatcher import MachineDispatcher
from ...domain.placement.model_pool import ModelPool
from ...domain.upscaling import Upscaled
from ...version import VERSION
from .gauges import Gauges

PREFIX = "litestar_diffusion"
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500)
"""Buckets: from a hot encode to a download."""


class Metrics:
    """Counts; every method returns at once and may be called from any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            f"{PREFIX}_requests", "Requests that were answered.", ("route", "method", "status"), registry=registry
        )
        self._errors = Counter(
            f"{PREFIX}_errors", "Requests that ended in a problem document, by its code.", ("code",), registry=registry
        )
        self._images = Counter(f"{PREFIX}_images", "Images that were made.", ("model",), registry=registry)
        self._adapter_images = Counter(
            f"{PREFIX}_adapter_images", "Images that were made with an adapter.", ("adapter",), registry=registry
        )
        self._steps = Counter(
            f"{PREFIX}_steps",
            "Denoising steps of requests, by the rows of the batch that they shared; an image takes one or two.",
            ("rows",),
            registry=registry,
        )
        self._phases = Histogram(
            f"{PREFIX}_phase_seconds",
            "Where the time of requests for images went.",
            ("phase",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._leases = Counter(
            f"{PREFIX}_leases",
            "Requests that got their model, by its residency before: hot, warm or cold.",
            ("model", "found"),
            registry=registry,
        )
        self._loads = Counter(f"{PREFIX}_loads", "Loads from disk.", ("model",), registry=registry)
        self._load_failures = Counter(
            f"{PREFIX}_load_failures", "Loads and downloads that failed.", ("model", "code"), registry=registry
        )
        self._addition_loads = Counter(
            f"{PREFIX}_addition_loads",
            "Loads from disk of what is added to models: adapters and VAEs.",
            ("kind", "name"),
            registry=registry,
        )
        self._addition_load_failures = Counter(
            f"{PREFIX}_addition_load_failures",
            "Loads of adapters and VAEs that failed.",
            ("kind", "name", "code"),
            registry=registry,
        )
        self._load_seconds = Histogram(
            f"{PREFIX}_load_seconds",
            "Seconds of loads from disk, downloads included.",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._evictions = Counter(
            f"{PREFIX}_evictions",
            "Weights that left the device (offload) or memory altogether (unload).",
            ("kind", "reason"),
            registry=registry,
        )
        self._moved = Counter(
            f"{PREFIX}_moved_bytes", "Bytes of weights that were moved.", ("direction",), registry=registry
        )
        Info(PREFIX, "The package.", registry=registry).info({"version": VERSION})

    def watch(self, pool: ModelPool, dispatcher: MachineDispatcher) -> None:
        """Ask these for what there is at the moment, each time the metrics are read. Call it once."""
        self._registry.register(Gauges(PREFIX, pool, dispatcher))

    def on_event(self, event: PoolEvent) -> None:
        """Count what the pool did."""
        match event:
            case LeaseGranted(model=model, found=found):
                self._leases.labels(model, HEAT[found]).inc()
            case AssetLoaded(asset=asset, nbytes=nbytes, seconds=seconds):
                self._count_load(asset, seconds)
                self._moved.labels("disk_to_host").inc(nbytes)
            case AssetLoadFailed(asset=AssetKey("model", name), code=code):
                self._load_failures.labels(name, code).inc()
            case AssetLoadFailed(asset=asset, code=code):
                self._addition_load_failures.labels(asset.kind, asset.name, code).inc()
            case AssetPlaced(nbytes=nbytes):
                self._moved.labels("host_to_device").inc(nbytes)
            case AssetOffloaded(reason=reason):
                self._evictions.labels("offload", reason.cause.value).inc()
            case AssetUnloaded(reason=reason):
                self._evictions.labels("unload", reason.cause.value).inc()
            case _:
                pass

    def _count_load(self, asset: AssetKey, seconds: float) -> None:
        if asset.kind == "model":
            self._loads.labels(asset.name).inc()
            self._load_seconds.labels(asset.name).observe(seconds)
        else:
            self._addition_loads.labels(asset.kind, asset.name).inc()

    def on_generated(self, generated: Generated) -> None:
        """Count a finished generation, of a request or of a job."""
        self._images.labels(generated.request.model).inc(len(generated.images))
        for use in generated.request.assets.adapters:
            self._adapter_images.labels(use.name).inc(len(generated.images))
        for timing in generated.step_timings:
            self._steps.labels(str(timing.rows)).inc(timing.steps)
        timings = generated.timings
        for phase in ("start", "queue", "load", "encode", "denoise", "decode", "upscale", "write", "total"):
            self._phases.labels(phase).observe(max(0.0, getattr(timings, f"{phase}_s")))

    def on_upscaled(self, upscaled: Upscaled) -> None:
        """Count an enlarged picture."""
        self._images.labels(pooled_name(upscaled.parameters.upscaler)).inc()
        for phase in ("start", "queue", "load", "upscale", "write", "total"):
            self._phases.labels(phase).observe(max(0.0, getattr(upscaled.timings, f"{phase}_s")))

    def on_request(self, *, route: str, method: str, status: int, code: str | None) -> None:
        """Count an answered request.

        Args:
            route: the path's template, such as `/generate/{model_name}`; empty if no route matches.
            method: of HTTP, or `other`.
            status: of HTTP.
            code: of the problem document, if it was one.
        """
        self._requests.labels(route, method, status).inc()
        if code is not None:
            self._errors.labels(code).inc()

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Format all metrics as the Accept header prefers; returns the text and its media type."""
        encode, media_type = choose_encoder(accept or "")
        return encode(self._registry), media_type
