"""Counts requests and their duration for the metrics."""

from collections.abc import Callable
from typing import Protocol

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..http.errors.problems import code_in

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COUNTED = "request_is_counted"


class RequestMetrics(Protocol):
    """Counters of requests."""

    def on_request(self, *, route: str, method: str, status: int, code: str | None) -> None:
        """Count an answered request; returns at once."""
        ...


class RequestCounter:
    """Counts every finished request once, even if several of these wrap each other.

    The standalone application wraps everything in one; the plugin wraps its own routes, for applications that embed it.
    """

    def __init__(self, app: ASGIApp, metrics: Callable[[], RequestMetrics | None]) -> None:
        """Wrap an application; `metrics` are looked up at each request, because they live as long as a lifespan."""
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
            if (metrics := self._metrics()) is not None:
                metrics.on_request(route=route, method=method, status=status, code=code_in(scope))
