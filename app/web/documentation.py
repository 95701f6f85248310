"""The OpenAPI document and its pages at `/schema`. Scripts and styles come from this server: no page needs the internet."""

from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, RedocRenderPlugin, SwaggerRenderPlugin, YamlRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router
from openapi_ui_bundles import redoc, swagger_ui

from ..version import VERSION

_ASSETS = "/schema-assets"
_FAVICON = f'<link rel="icon" href="{_ASSETS}/swagger/favicon-32x32.png">'
_DESCRIPTION = """
Makes images with SDXL models.

```
curl -X POST http://127.0.0.1:8000/generate/demo -d '{"prompt": "a red circle on a blue background"}'
```

A model is loaded by its first request. Answers carry the image in base64; with `Accept: image/png` they are the image.
Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents with a stable `code`.
"""


def openapi_config() -> OpenAPIConfig:
    """Swagger UI at `/schema`, Redoc at `/schema/redoc`, the document at `/schema/openapi.json`."""
    return OpenAPIConfig(
        title="litestar-diffusion",
        version=VERSION,
        description=_DESCRIPTION,
        path="/schema",
        render_plugins=[
            SwaggerRenderPlugin(
                js_url=f"{_ASSETS}/swagger/swagger-ui-bundle.js",
                css_url=f"{_ASSETS}/swagger/swagger-ui.css",
                standalone_preset_js_url=f"{_ASSETS}/swagger/swagger-ui-standalone-preset.js",
                favicon=_FAVICON,
            ),
            RedocRenderPlugin(js_url=f"{_ASSETS}/redoc/redoc.standalone.js", google_fonts=False, favicon=_FAVICON),
            JsonRenderPlugin(),
            YamlRenderPlugin(),
        ],
    )


def documentation_assets() -> Router:
    """The scripts and styles of the pages, from the package `openapi-ui-bundles`."""
    return Router(
        path=_ASSETS,
        route_handlers=[
            create_static_files_router(path="/swagger", directories=[swagger_ui.static_path]),
            create_static_files_router(path="/redoc", directories=[redoc.static_path]),
        ],
        include_in_schema=False,
    )
