"""What happened, counted for Prometheus in a registry of our own.

Nothing here is global, so several plugins in one process, or an application with metrics of its own, do not meet.
"""

from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import choose_encoder

from ....domain.generator import Generated
from ....domain.memory.events import PoolEvent
from ....domain.placement.dispatcher import MachineDispatcher
from ....domain.placement.model_pool import ModelPool
from ....domain.upscaling import Upscaled
from ....version import VERSION
from .gauges import Gauges
from .image_metrics import ImageMetrics
from .instruments import PREFIX
from .pool_metrics import PoolMetrics
from .request_metrics import RequestMetrics


class Metrics:
    """Counts; every method returns at once and may be called from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = RequestMetrics(self._registry)
        self._images = ImageMetrics(self._registry)
        self._pool = PoolMetrics(self._registry)
        Info(PREFIX, "The package.", registry=self._registry).info({"version": VERSION})

    def watch(self, pool: ModelPool, dispatcher: MachineDispatcher) -> None:
        """Ask these for what there is at the moment, each time the metrics are read. Call it once."""
        self._registry.register(Gauges(PREFIX, pool, dispatcher))

    def on_event(self, event: PoolEvent) -> None:
        """Count what the pool did."""
        self._pool.on_event(event)

    def on_generated(self, generated: Generated) -> None:
        """Count a finished generation, of a request or of a job."""
        self._images.on_generated(generated)

    def on_upscaled(self, upscaled: Upscaled) -> None:
        """Count an enlarged picture."""
        self._images.on_upscaled(upscaled)

    def on_request(self, *, route: str, method: str, status: int, code: str | None) -> None:
        """Count an answered request.

        Args:
            route: the path's template, such as `/generate/{model_name}`; empty if no route matches.
            method: of HTTP, or `other`.
            status: of HTTP.
            code: of the problem document, if it was one.
        """
        self._requests.on_request(route, method, status, code)

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Format all metrics as the Accept header prefers; returns the text and its media type."""
        encode, media_type = choose_encoder(accept or "")
        return encode(self._registry), media_type
