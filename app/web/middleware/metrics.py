"""Counts requests and their duration for the metrics."""

import re
from collections.abc import Callable
from typing import Protocol

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..http.problems import code_in

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_COUNTED = "request_is_counted"
_PARAMETER = re.compile(r"\{[^}]*\}")


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
            if (metrics := self._metrics()) is not None:
                metrics.on_request(route=_route(scope), method=method, status=status, code=code_in(scope))


def _route(scope: Scope) -> str:
    """Return the template of the path with the parameters of this request's own route.

    Litestar keeps one template for all routes of a shape: `/jobs/{job_id}` for `/jobs/{model}`, too.
    """
    names = iter(scope.get("path_params") or ())
    return _PARAMETER.sub(lambda found: f"{{{next(names, found[0][1:-1])}}}", str(scope.get("path_template") or ""))
