"""Counts of images, and where their time went."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from ....domain.generator import Generated
from ....domain.models.upscalers import pooled_name
from ....domain.upscaling import Upscaled
from .instruments import counter, seconds

_GENERATION = ("start", "queue", "load", "encode", "denoise", "decode", "upscale", "write", "total")
_UPSCALING = ("start", "queue", "load", "upscale", "write", "total")


class ImageMetrics:
    """Counts what was made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._images = counter(registry, "images", "Images that were made.", "model")
        self._adapter_images = counter(registry, "adapter_images", "Images that were made with an adapter.", "adapter")
        self._steps = counter(
            registry,
            "steps",
            "Denoising steps of requests, by the rows of the batch that they shared; an image takes one or two.",
            "rows",
        )
        self._phases = seconds(registry, "phase_seconds", "Where the time of requests for images went.", "phase")

    def on_generated(self, generated: Generated) -> None:
        """Count a finished generation, of a request or of a job."""
        self._images.labels(generated.request.model).inc(len(generated.images))
        for use in generated.request.assets.adapters:
            self._adapter_images.labels(use.name).inc(len(generated.images))
        for timing in generated.step_timings:
            self._steps.labels(str(timing.rows)).inc(timing.steps)
        self._note_phases(generated.timings, _GENERATION)

    def on_upscaled(self, upscaled: Upscaled) -> None:
        """Count an enlarged picture."""
        self._images.labels(pooled_name(upscaled.parameters.upscaler)).inc()
        self._note_phases(upscaled.timings, _UPSCALING)

    def _note_phases(self, timings: object, phases: Iterable[str]) -> None:
        for phase in phases:
            self._phases.labels(phase).observe(max(0.0, getattr(timings, f"{phase}_s")))
