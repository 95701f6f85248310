"""What an application says about image generation inside it."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from litestar.openapi.spec import SecurityRequirement
from litestar.types import Guard, Middleware

from .bootstrap import build
from .lifecycle import Services
from .settings import Settings, load_settings
from .web.dialect import Dialect
from .web.http.clients import Identify
from .web.http.route_groups import ROUTE_GROUPS, RouteGroup
from .web.middleware.origins.origin_rules import OriginRules


@dataclass(slots=True, kw_only=True)
class DiffusionConfig:
    """Where and how an application mounts image generation."""

    path: str = "/"
    """Path of the routes, such as `/images` or `/tenants/{tenant:str}/images`."""
    settings: Settings = field(default_factory=Settings)
    """Settings of everything else; the defaults, unless `from_file` or `load_settings` reads others."""
    pool_key: str = "model_pool"
    """Name under which handlers of the application receive the `ModelPool`."""
    generator_key: str = "image_generator"
    """Name under which handlers of the application receive the `ImageGenerator`."""
    routes: Collection[RouteGroup] = ROUTE_GROUPS
    """Routes that are mounted; all by default. `{"generate", "health"}` makes images and answers probes, no more."""
    guards: Sequence[Guard] = ()
    """Guards of our routes, besides those of the application."""
    unguarded: Collection[RouteGroup] = ()
    """Routes that `guards` leave out: `{"health", "metrics"}` for probes and scrapers without credentials."""
    page: bool = True
    """Whether browsers get a page at `path`; everything else gets JSON there in any case."""
    client_of: Identify | None = None
    """Names the client of a request: its share of the device, its idempotency keys, its jobs, which no other client sees then.
    By default it is the user that your authentication has set as `request.user`, otherwise the address."""
    middleware: Sequence[Middleware] = ()
    """Middleware of our routes, besides that of the application."""
    origins: OriginRules | None = None
    """Web pages that may use our routes; if absent, the application decides, as it does about CORS."""
    include_in_schema: bool = True
    """Whether the routes appear in the application's OpenAPI document."""
    tags: Sequence[str] = ()
    """Tags of the routes in the OpenAPI document, besides their own."""
    security: Sequence[SecurityRequirement] = ()
    """Security schemes of the routes in the OpenAPI document, such as `[{"BearerToken": []}]`."""
    set_default_exception_handler: bool = True
    """Whether a `DiffusionError` in the application's own routes becomes a problem document with the status of
    `HTTP_STATUS`, unless the application has a handler for `DiffusionError`."""
    dialects: Sequence[Dialect] | None = None
    """HTTP APIs that are mounted below `path`; if absent, those that the settings have not switched off."""
    build: Callable[[Settings], Services] = build
    """Makes the services of one lifespan; called at each start, so that it must return new ones. For tests with fakes."""

    @classmethod
    def from_file(cls, file: Path | str | None = None, **fields: Any) -> "DiffusionConfig":
        """Make a config with the settings of a file and the environment.

        Args:
            file: settings file; None: the one that LITESTAR_DIFFUSION_SETTINGS names, else `settings.toml` in the
                working directory if it exists, else none.
            fields: all other fields of the config.

        Raises:
            InvalidSettings: naming every wrong key, its value and what is allowed.
        """
        return cls(settings=load_settings(None if file is None else Path(file)), **fields)
