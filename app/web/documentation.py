"""The OpenAPI document and its pages at `/schema`. Scripts and styles come from this server: no page needs the internet."""

from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import InternalServerException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import (
    JsonRenderPlugin,
    OpenAPIRenderPlugin,
    RedocRenderPlugin,
    SwaggerRenderPlugin,
    YamlRenderPlugin,
)
from litestar.openapi.spec import Tag
from litestar.router import Router
from litestar.static_files import create_static_files_router
from openapi_ui_bundles import redoc, swagger_ui

from ..version import VERSION
from .http.errors.problems import Problem, id_in, problem_response
from .http.errors.refusals import nothing_at, path_asked
from .http.relative_pages import ASSETS, RelativePages

_FAVICON = f'<link rel="icon" href="{ASSETS}/swagger/favicon-32x32.png">'
_STYLE = """<style>body { margin: 0; padding: 0 }</style>
<meta http-equiv="Content-Security-Policy"
      content="default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; img-src 'self' data: blob:">"""
"""The policy keeps the pages' scripts from fetching a logo from elsewhere."""
_TAGS = [
    Tag(name="generation", description="Making images."),
    Tag(name="models", description="Lists models and their residency, and moves them on demand."),
    Tag(name="a1111", description="The API of AUTOMATIC1111's web UI, for clients that were written for it."),
    Tag(name="service", description="Facts about the server, for people and for what watches it."),
]


def openapi_config(url: str, model: str) -> OpenAPIConfig:
    """Swagger UI at `/schema`, Redoc at `/schema/redoc`, the document at `/schema/openapi.json`.

    Args:
        url: address of the server, for the example.
        model: one to ask in the example.
    """
    return OpenAPIConfig(
        title="litestar-diffusion",
        version=VERSION,
        description=_description(url, model),
        path="/schema",
        tags=_TAGS,
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
        render_plugins=[RelativePages(plugin, url) for plugin in _plugins()],
    )


def _plugins() -> list[OpenAPIRenderPlugin]:
    return [
        SwaggerRenderPlugin(
            js_url=f"{ASSETS}/swagger/swagger-ui-bundle.js",
            css_url=f"{ASSETS}/swagger/swagger-ui.css",
            standalone_preset_js_url=f"{ASSETS}/swagger/swagger-ui-standalone-preset.js",
            favicon=_FAVICON,
            style=_STYLE,
        ),
        RedocRenderPlugin(
            js_url=f"{ASSETS}/redoc/redoc.standalone.js", google_fonts=False, favicon=_FAVICON, style=_STYLE
        ),
        JsonRenderPlugin(),
        YamlRenderPlugin(),
    ]


def documentation_assets() -> Router:
    """Read the scripts and styles of the pages from the package `openapi-ui-bundles`."""
    return Router(
        path=ASSETS,
        route_handlers=[
            create_static_files_router(path="/swagger", directories=[swagger_ui.static_path]),
            create_static_files_router(path="/redoc", directories=[redoc.static_path]),
        ],
        include_in_schema=False,
        # Names that no file can have: with a zero byte, or too long.
        exception_handlers={ValueError: _no_such_file, InternalServerException: _no_such_file},
    )


def _no_such_file(request: Request[Any, Any, Any], _error: Exception) -> Response[Problem]:
    problem = msgspec.structs.replace(
        nothing_at(path_asked(request.scope), request.scope.get("root_path", "")), instance=id_in(request.scope)
    )
    return problem_response(request, problem)


def _description(url: str, model: str) -> str:
    return f"""Makes images with SDXL models.

```
curl -X POST {url}/generate/{model} -H 'accept: image/png' \\
  -d '{{"prompt": "a red circle on a blue background"}}' -o out.png
```

A model is loaded by its first request. Answers are JSON with the image in base64, or the image itself if the `Accept`
header asks for one. Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents with a stable `code`.
"""


def _operation_id(handler: HTTPRouteHandler, *_: object) -> str:
    """Return the handler's name, from which client generators make function names."""
    return handler.handler_name
