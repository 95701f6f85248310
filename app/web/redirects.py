"""Addresses that people and programs try first, for the standalone application: they lead to the real ones."""

from collections.abc import Mapping
from typing import Any

from litestar import Request, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.response import Redirect

REDIRECTS: Mapping[str, str] = {
    "/docs": "/schema",
    "/healthz": "/health/live",
    "/livez": "/health/live",
    "/openapi.json": "/schema/openapi.json",
    "/readyz": "/health/ready",
    "/redoc": "/schema/redoc",
}


def redirects() -> Router:
    """Redirect by 307."""
    handlers = [_redirect(path, real) for path, real in REDIRECTS.items()]
    return Router(path="/", route_handlers=handlers, include_in_schema=False)


def _redirect(path: str, real: str) -> HTTPRouteHandler:
    @get(path, status_code=307, sync_to_thread=False)
    def lead(request: Request[Any, Any, Any]) -> Redirect:
        return Redirect(request.scope.get("root_path", "").rstrip("/") + real, status_code=307)

    return lead
