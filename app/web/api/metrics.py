"""`GET /metrics`."""

from typing import Any, Protocol

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation


class Metrics(Protocol):
    """What counts, and shows its counts."""

    def on_request(self, *, route: str, method: str, status: int, code: str | None) -> None:
        """Count an answered request; returns at once."""
        ...

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Everything in the format that an Accept header prefers, and the media type of that."""
        ...


class MetricsController(Controller):
    """For Prometheus."""

    path = "/metrics"
    tags = ("service",)

    @get(
        "/",
        summary="Metrics",
        sync_to_thread=False,
        media_type="text/plain",
        responses={
            200: ResponseSpec(
                str,
                media_type="text/plain",
                description="The text format of Prometheus; OpenMetrics where the Accept header prefers it.",
                generate_examples=False,
            )
        },
    )
    def metrics(
        self, request: Request[Any, Any, Any], metrics_source: NamedDependency[SkipValidation[Metrics]]
    ) -> Response[bytes]:
        """Requests, errors, leases, loads, evictions, bytes and seconds, for Prometheus to scrape."""
        body, media_type = metrics_source.expose(request.headers.get("accept"))
        return Response(body, media_type=media_type)
