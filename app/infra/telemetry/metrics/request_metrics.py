"""Counts of answered requests."""

from prometheus_client import CollectorRegistry

from .instruments import counter


class RequestMetrics:
    """Counts requests by their answers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = counter(registry, "requests", "Requests that were answered.", "route", "method", "status")
        self._errors = counter(registry, "errors", "Requests that ended in a problem document, by its code.", "code")

    def on_request(self, route: str, method: str, status: int, code: str | None) -> None:
        """Count an answered request; see `Metrics.on_request`."""
        self._requests.labels(route, method, status).inc()
        if code is not None:
            self._errors.labels(code).inc()
