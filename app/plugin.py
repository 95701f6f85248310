"""The plugin: image generation inside any Litestar application."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.openapi.spec import Schema
from litestar.plugins import InitPlugin, OpenAPISchemaPlugin
from litestar.types import ASGIApp, ControllerRouterHandler, Guard
from litestar.typing import FieldDefinition

from .bootstrap import build
from .infra.telemetry.metrics import Metrics
from .lifecycle import Services
from .settings import Settings
from .version import VERSION
from .web.api.metrics import MetricsController
from .web.api.service import ServiceFacts
from .web.dialect import Dialect
from .web.dialects import DIALECTS
from .web.generation_service import GenerationService
from .web.http.body_schemas import BodySchemas
from .web.http.exception_handlers import exception_handlers
from .web.middleware.methods import add_head, answer_options
from .web.middleware.metrics import RequestCounter
from .web.middleware.no_sniff import no_sniff
from .web.middleware.origin_check import OriginCheck
from .web.middleware.origins import OriginRules


@dataclass(slots=True, kw_only=True)
class DiffusionConfig:
    """Where and how an application mounts image generation."""

    path: str = "/"
    """Path of the routes, such as `/images`."""
    settings: Settings = field(default_factory=Settings)
    """Settings of everything else; see `load_settings`."""
    pool_key: str = "model_pool"
    """Name under which handlers of the application receive the `ModelPool`."""
    generator_key: str = "image_generator"
    """Name under which handlers of the application receive the `ImageGenerator`."""
    guards: Sequence[Guard] = ()
    """Guards of our routes."""
    origins: OriginRules | None = None
    """Web pages that may use our routes; if absent, the application decides, as it does about CORS."""
    metrics: bool = True
    """Whether `metrics` is among our routes, for Prometheus."""
    include_in_schema: bool = True
    """Whether the routes appear in the application's OpenAPI document."""
    dialects: Sequence[Dialect] = DIALECTS
    """HTTP APIs that are mounted below `path`."""
    build: Callable[[Settings], Services] = build
    """Makes the services of one lifespan; called at each start, so that it must return new ones. For tests with fakes."""


class DiffusionPlugin(InitPlugin, OpenAPISchemaPlugin):
    """Adds the routes, two dependencies and a lifespan to an application, and changes nothing else of it.

    Error handlers and all other dependencies of the routes stay on the plugin's own router.
    """

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        self.config = config or DiffusionConfig()
        self._schemas = BodySchemas(self.config.settings.limits)
        self._services: Services | None = None

    @property
    def services(self) -> Services:
        """Services of the lifespan that runs.

        Raises:
            RuntimeError: the application has not started, or has ended.
        """
        if self._services is None:
            raise RuntimeError(
                "Image generation is not running: its services live from the start of the application's lifespan to its "
                "end. In tests, use the client as a context manager."
            )
        return self._services

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add routes, dependencies and lifespan to the application.

        Raises:
            ImproperlyConfiguredException: the application already uses one of our dependency keys.
        """
        for key, provide in self._shared_dependencies().items():
            if key in app_config.dependencies:
                raise ImproperlyConfiguredException(
                    f"The application already has a dependency named {key!r}. Choose another name with "
                    "DiffusionConfig(pool_key=..., generator_key=...)."
                )
            app_config.dependencies[key] = provide
        app_config.route_handlers.append(self._router())
        app_config.lifespan.append(self._lifespan)
        return app_config

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Tell Litestar whether `to_openapi_schema` makes the schema of a type."""
        return self._schemas.supports(field_definition)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Make the OpenAPI schema of a body of ours, with the limits of the settings."""
        others = (plugin for plugin in schema_creator.plugins if not isinstance(plugin, DiffusionPlugin))
        litestars = next(plugin for plugin in others if schema_creator.plugin_supports_field(plugin, field_definition))
        return self._schemas.complete(field_definition, litestars.to_openapi_schema(field_definition, schema_creator))

    async def end(self) -> None:
        """Refuse new requests and finish or stop those that run, before the lifespan ends. May be called at any time."""
        if self._services is not None:
            await self._services.end()

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        if self._services is not None:
            raise RuntimeError(
                "The lifespan of this plugin is running already. Give each application a DiffusionPlugin of its own."
            )
        # Built here and not before, so that the same application can be started again.
        self._services = services = self.config.build(self.config.settings)
        try:
            async with services.running():
                yield
        finally:
            self._services = None

    def _shared_dependencies(self) -> dict[str, Provide]:
        return {
            self.config.pool_key: self._provide(lambda services: services.pool),
            self.config.generator_key: self._provide(lambda services: services.generator),
        }

    def _router(self) -> Router:
        config = self.config
        router = Router(
            path=config.path,
            route_handlers=self._routers(),
            dependencies={
                "model_pool": self._provide(lambda services: services.pool),
                "image_generator": self._provide(lambda services: services.generator),
                "generation": self._provide(_generation),
                "catalogue": self._provide(lambda services: services.catalogue),
                "dispatcher": self._provide(lambda services: services.dispatcher),
                "service_facts": self._provide(_facts),
                "metrics_source": self._provide(lambda services: services.metrics),
                "job_store": self._provide(lambda services: services.job_store),
                "keep_alive_s": self._provide(lambda services: services.settings.jobs.keep_alive_s),
                "recent_decisions": self._provide(lambda services: services.history.recent),
            },
            exception_handlers=exception_handlers(),
            guards=list(config.guards),
            middleware=list(self._middleware()),
            request_max_body_size=config.settings.limits.max_body_bytes,
            include_in_schema=config.include_in_schema,
        )
        add_head(router)
        return router

    def _routers(self) -> list[ControllerRouterHandler]:
        routers: list[ControllerRouterHandler] = [
            Router(
                path=dialect.path,
                route_handlers=dialect.route_handlers,
                exception_handlers=dialect.exception_handlers(),
            )
            for dialect in self.config.dialects
        ]
        return [*routers, MetricsController] if self.config.metrics else routers

    def _middleware(self) -> list[Callable[[ASGIApp], ASGIApp]]:
        """Return middleware as functions, because Litestar makes deep copies of other objects here."""
        origins = self.config.origins

        def counted(app: ASGIApp) -> ASGIApp:
            return RequestCounter(app, self.metrics)

        def checked(app: ASGIApp) -> ASGIApp:
            return OriginCheck(app, origins) if origins is not None else app

        return [no_sniff, counted, checked, answer_options]

    def metrics(self) -> Metrics | None:
        """Return the metrics of the lifespan that runs; None outside of one."""
        return self._services.metrics if self._services is not None else None

    def _provide(self, part: Callable[[Services], Any]) -> Provide:
        """Make a dependency that is looked up in the running lifespan's services at each request."""

        def provide() -> Any:
            return part(self.services)

        return Provide(provide, sync_to_thread=False)


def _generation(services: Services) -> GenerationService:
    return GenerationService(generator=services.generator, jobs=services.job_store, dry_runs=services.dry_runs)


def _facts(services: Services) -> ServiceFacts:
    return ServiceFacts(
        version=VERSION,
        default_model=services.settings.models.default,
        documentation="/schema",
        device=lambda: services.engine.device.name,
        not_ready_because=services.not_ready_because,
        failed=lambda: services.failed,
    )
