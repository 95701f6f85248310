"""Renders documents and pages of the documentation for the address under which a client has asked for them."""

from typing import Any

from litestar import Request, Router
from litestar.openapi.plugins import OpenAPIRenderPlugin

ASSETS = "/schema-assets"


class RelativePages(OpenAPIRenderPlugin):
    """Renders with another plugin.

    Scripts and styles are named relative to the page, so that it shows under any prefix, also one that this server does not know
    of. The server of the document and the address in its example are those of the request.
    """

    def __init__(self, inner: OpenAPIRenderPlugin, example_url: str) -> None:
        """Wrap a plugin; `example_url` is the address in the document's description."""
        super().__init__(path=inner.paths, media_type=inner.media_type, favicon=inner.favicon, style=inner.style)
        self._inner = inner
        self._example_url = example_url

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Render the document or the page."""
        rendered = self._inner.render(request, self._addressed(request, openapi_schema))
        return rendered.replace(f'"{ASSETS}/'.encode(), f'"{_up(request)}{ASSETS[1:]}/'.encode())

    def receive_router(self, router: Router) -> None:
        """Let the plugin add its own routes."""
        self._inner.receive_router(router)

    def _addressed(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> dict[str, Any]:
        info = dict(openapi_schema["info"])
        info["description"] = info["description"].replace(self._example_url, str(request.base_url).rstrip("/"))
        servers = [{"url": request.scope.get("root_path") or "/"}]
        return {**openapi_schema, "info": info, "servers": servers}


def _up(request: Request[Any, Any, Any]) -> str:
    """Return the relative way from the page to the root: `../` for each part of the page's path but the last."""
    # Litestar has removed a final slash from the path; browsers have not.
    raw = bytes(request.scope.get("raw_path") or request.scope["path"].encode())
    root = str(request.scope.get("root_path") or "").encode()
    return "../" * (raw.partition(b"?")[0].removeprefix(root).count(b"/") - 1)
