"""`GET /metrics`, and the middleware that tells of every finished request."""

from typing import Any, Protocol

from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import SkipValidation
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from .problems import code_in

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COUNTED = "request_is_counted"


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


class RequestCounter:
    """Tells of every finished request, once, in however many layers it stands.

    The standalone application has it around everything, an application that embeds the plugin around our routes alone.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] != "http" or _COUNTED in scope.setdefault("state", {}):
            await self._app(scope, receive, send)
            return
        scope["state"][_COUNTED] = True
        status = 500

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = str(scope.get("path_template") or "")
            self._metrics.on_request(route=route, method=method, status=status, code=code_in(scope))
