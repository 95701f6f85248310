"""`GET /metrics`."""

from typing import Any, Protocol

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation

from ..auth.requirements import requires
from ..http.accept import VARY
from ..http.route_groups import in_group

_CHARSET = "; charset=utf-8"
"""Litestar adds it to media types of text."""


class MetricsSource(Protocol):
    """Counters that can be read."""

    def expose(self, accept: str | None) -> tuple[bytes, str]:
        """Return all counters in the format that an Accept header prefers, and its media type."""
        ...


class MetricsController(Controller):
    """Metrics for Prometheus."""

    path = "/metrics"
    tags = ("service",)
    opt = in_group("metrics") | requires("read")

    @get(
        "/",
        summary="Metrics",
        sync_to_thread=False,
        media_type="text/plain",
        responses={
            200: ResponseSpec(
                str,
                media_type="text/plain",
                description="The text format of Prometheus; OpenMetrics if the Accept header prefers it.",
                generate_examples=False,
            )
        },
    )
    def metrics(
        self, request: Request[Any, Any, Any], metrics_source: NamedDependency[SkipValidation[MetricsSource]]
    ) -> Response[bytes]:
        """Read counters of requests, errors, leases, loads, evictions, bytes and seconds, for Prometheus."""
        body, media_type = metrics_source.expose(request.headers.get("accept"))
        media_type = media_type.removesuffix(_CHARSET) if media_type.startswith("text/") else media_type
        return Response(body, media_type=media_type, headers=VARY)
