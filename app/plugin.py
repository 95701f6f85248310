"""The plugin: image generation inside any Litestar application."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from typing import Any

from click import Group
from litestar import Litestar, Router
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Schema
from litestar.plugins import CLIPlugin, InitPlugin, OpenAPISchemaPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, ControllerRouterHandler, Guard, Middleware
from litestar.typing import FieldDefinition

from .domain.access.key_ring import KeyRing
from .domain.generator import Generated, ImageGenerator
from .domain.placement.model_pool import ModelPool
from .domain.requests.parameters import GenerationParameters
from .infra.telemetry.metrics.metrics import Metrics
from .lifecycle import Services
from .plugin_config import DiffusionConfig
from .settings import Settings
from .version import VERSION
from .web.api.metrics import MetricsController
from .web.api.service import ServiceFacts
from .web.auth.admission import Admission
from .web.auth.authentication import KeyAuthentication, key_client
from .web.auth.documentation import COMPONENTS, document_keys, documented_by
from .web.auth.guard import authorize
from .web.auth.own_key import OwnKeyController
from .web.dialect import Dialect
from .web.dialects import DIALECTS
from .web.generation_service import GenerationService
from .web.http.addresses import AddressRules
from .web.http.bodies.body_schemas import BodySchemas, file_schema, is_file
from .web.http.bodies.incoming_bodies import BodyLimits, IncomingBodies
from .web.http.clients import Identify, host_user, identified_by, is_identified
from .web.http.draining import refuse_while
from .web.http.errors.exception_handlers import domain_error_handlers, exception_handlers
from .web.http.large_json import LargeJSON
from .web.http.page_requests import page_is
from .web.http.route_groups import ROUTE_GROUPS, chosen, mounted, sparing, takes_pictures
from .web.middleware.bodies.bounded_bodies import BoundedBodies
from .web.middleware.bodies.form_bodies import FormBodies
from .web.middleware.bodies.json_files import JSONFiles
from .web.middleware.methods import add_head, answer_options
from .web.middleware.metrics import RequestCounter
from .web.middleware.origins.origin_check import OriginCheck
from .web.middleware.security_headers import security_headers
from .web.middleware.sliced_answers import sliced_answers
from .web.page.files import PageFiles
from .web.page.page import page_file

_NAMESPACE = {kind.__name__: kind for kind in (Generated, GenerationParameters, ImageGenerator, ModelPool)}
"""Types that handlers of the application name in their signatures, which may be imported for type checkers alone."""


class DiffusionPlugin(InitPlugin, CLIPlugin, OpenAPISchemaPlugin, ReceiveRoutePlugin):
    """Adds routes, two dependencies, a handler of `DiffusionError` and a lifespan to an application, and nothing else.

    All other error handlers and dependencies of the routes stay on the plugin's own router.
    """

    def __init__(self, config: DiffusionConfig | None = None) -> None:
        self.config = config or DiffusionConfig()
        parameters = (struct for dialect in self._dialects() for struct in dialect.parameters)
        self._schemas = BodySchemas(self.config.settings.limits, parameters)
        self._keys = KeyRing(self.config.settings.keys)
        self._bodies = _bodies(self.config.settings)
        self._page_files = PageFiles()
        self._services: Services | None = None
        self._hurried = False
        self._documentation = ""
        self._dialect_states: dict[str, object] = {}
        """What each dialect remembers, by its name; new in each lifespan."""

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
            ImproperlyConfiguredException: the application already uses one of our dependency keys, or the config names
                routes that do not exist.
        """
        self._check_config()
        for key, provide in self._shared_dependencies().items():
            if key in app_config.dependencies:
                raise ImproperlyConfiguredException(
                    f"The application already has a dependency named {key!r}. Choose another name with "
                    "DiffusionConfig(pool_key=..., generator_key=...)."
                )
            app_config.dependencies[key] = provide
        if self.config.set_default_exception_handler:
            app_config.exception_handlers = {**domain_error_handlers(), **app_config.exception_handlers}
        app_config.signature_namespace = {**_NAMESPACE, **app_config.signature_namespace}
        app_config.route_handlers.append(self._router())
        app_config.lifespan.append(self._lifespan)
        if self._keys and app_config.openapi_config is not None:
            app_config.openapi_config = _with_keys(app_config.openapi_config)
        return app_config

    def receive_route(self, route: BaseRoute) -> None:
        """Have the OpenAPI document say which of our routes need a key. Litestar calls it for each route."""
        handlers = route.route_handlers if self._keys and isinstance(route, HTTPRoute) else ()
        for handler in handlers:
            if is_identified(handler):
                document_keys(handler)

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Tell Litestar whether `to_openapi_schema` makes the schema of a type."""
        return self._schemas.supports(field_definition)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Make the OpenAPI schema of a body of ours, with the limits of the settings."""
        if is_file(field_definition):
            return file_schema()
        others = (plugin for plugin in schema_creator.plugins if not isinstance(plugin, DiffusionPlugin))
        litestars = next(plugin for plugin in others if schema_creator.plugin_supports_field(plugin, field_definition))
        return self._schemas.complete(field_definition, litestars.to_openapi_schema(field_definition, schema_creator))

    def on_cli_init(self, cli: Group) -> None:
        """Add `litestar diffusion generate | models | inspect` to the command line of the application."""
        from .cli.embedded import diffusion_group  # here, because the command line stands above the plugin

        cli.add_command(diffusion_group(self.config.settings, self.config.build))

    async def end(self) -> None:
        """Refuse new requests and finish or stop those that run, before the lifespan ends. May be called at any time."""
        if self._services is not None:
            self._bodies.end()
            await self._services.end()

    @property
    def has_jobs(self) -> bool:
        """Whether clients have jobs here that have not ended, and ask for them from time to time."""
        return self._services is not None and self._services.has_jobs

    @property
    def hurried(self) -> bool:
        """Whether `hurry` was called in this lifespan."""
        return self._hurried

    def hurry(self) -> None:
        """Stop running images at their next step, so that `end` ends soon. Event loop only."""
        self._hurried = True
        if self._services is not None:
            self._services.hurry()

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncIterator[None]:
        if self._services is not None:
            raise RuntimeError(
                "The lifespan of this plugin is running already. Give each application a DiffusionPlugin of its own."
            )
        self._documentation = "" if app.openapi_config is None else app.openapi_config.path or "/schema"
        # Built here and not before, so that the same application can be started again.
        self._services = services = self.config.build(self.config.settings)
        self._hurried = False
        self._bodies.begin()
        self._dialect_states = {dialect.name: dialect.state() for dialect in self._dialects()}
        try:
            async with services.running():
                yield
        finally:
            self._services = None
            self._dialect_states = {}

    def _check_config(self) -> None:
        if self._keys and self.config.client_of is not None:
            raise ImproperlyConfiguredException(
                "DiffusionConfig has client_of, and the settings have keys. Keep one of the two: keys name the client, too."
            )
        if unknown := {*self.config.routes, *self.config.unguarded} - ROUTE_GROUPS:
            raise ImproperlyConfiguredException(
                f"DiffusionConfig names routes that do not exist: {', '.join(sorted(unknown))}. "
                f"There are {', '.join(sorted(ROUTE_GROUPS))}."
            )

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
                "catalogues": self._provide(lambda services: services.catalogues),
                "dispatcher": self._provide(lambda services: services.dispatcher),
                "service_facts": self._provide(self._facts),
                "metrics_source": self._provide(lambda services: services.metrics),
                "job_store": self._provide(lambda services: services.job_store),
                "keep_alive_s": self._provide(lambda services: services.settings.jobs.keep_alive_s),
                "embeddings": self._provide(lambda services: services.embeddings),
                "embedded_texts": self._provide(lambda services: services.embedded_texts),
                "page_files": Provide(lambda: self._page_files if self._has_page else None, sync_to_thread=False),
                "thumbnail": self._provide(lambda services: services.thumbnail),
                "quotas": self._provide(lambda services: services.quotas),
                "recent_decisions": self._provide(lambda services: services.history.recent),
            },
            exception_handlers=exception_handlers(),
            response_class=LargeJSON,
            guards=self._guards(),
            middleware=self._middleware(),
            request_max_body_size=config.settings.limits.max_body_bytes,
            include_in_schema=config.include_in_schema,
            tags=config.tags,
            security=config.security,
            opt={**mounted(config.routes), **identified_by(self._identify()), **page_is(on=self._has_page)},
        )
        add_head(router)
        return router

    def _routers(self) -> list[ControllerRouterHandler]:
        dialects = self._dialects()
        replaced = {old: new for dialect in dialects for old, new in dialect.replaces.items()}
        routers: list[ControllerRouterHandler] = [self._mounted(dialect, replaced) for dialect in dialects]
        own: list[ControllerRouterHandler] = [MetricsController, *([OwnKeyController] if self._keys else [])]
        own += [page_file] if self._has_page else []
        return [*routers, *chosen(own, self.config.routes)]

    @property
    def _has_page(self) -> bool:
        return self.config.page and "page" in self.config.routes

    def _identify(self) -> Identify:
        return key_client if self._keys else self.config.client_of or host_user

    def _guards(self) -> list[Guard]:
        own: list[Guard] = [authorize] if self._keys else []
        hosts = (sparing(guard, self.config.unguarded) for guard in self.config.guards)
        return [*own, *hosts, refuse_while(lambda: self._services is not None and self._services.ending)]

    def _mounted(self, dialect: Dialect, replaced: Mapping[ControllerRouterHandler, ControllerRouterHandler]) -> Router:
        chosen_handlers = chosen(dialect.route_handlers, self.config.routes)
        handlers = [replaced.get(handler, handler) for handler in chosen_handlers]
        pictures = Router(
            path="/",
            route_handlers=[handler for handler in handlers if takes_pictures(handler)],
            request_max_body_size=self.config.settings.limits.max_upload_bytes,
        )
        return Router(
            path=dialect.path,
            route_handlers=[pictures, *(handler for handler in handlers if not takes_pictures(handler))],
            exception_handlers=dialect.exception_handlers(),
            dependencies={"dialect_state": self._provide_state(dialect.name)},
            opt=documented_by(dialect.documented),
        )

    def _dialects(self) -> Sequence[Dialect]:
        if self.config.dialects is not None:
            return self.config.dialects
        return [dialect for dialect in DIALECTS if dialect.name not in self.config.settings.dialects.off]

    def _middleware(self) -> list[Middleware]:
        """Return middleware as functions, because Litestar makes deep copies of other objects here."""
        origins = self.config.origins
        max_upload_bytes = self.config.settings.limits.max_upload_bytes

        def bounded(app: ASGIApp) -> ASGIApp:
            return BoundedBodies(app, self._bodies)

        def counted(app: ASGIApp) -> ASGIApp:
            return RequestCounter(app, self.metrics)

        def checked(app: ASGIApp) -> ASGIApp:
            return OriginCheck(app, origins) if origins is not None else app

        def authenticated(app: ASGIApp) -> ASGIApp:
            return KeyAuthentication(app, self._keys) if self._keys else app

        def formed(app: ASGIApp) -> ASGIApp:
            return FormBodies(app, max_upload_bytes)

        def lifted(app: ASGIApp) -> ASGIApp:
            return JSONFiles(app, max_upload_bytes)

        own = [sliced_answers, bounded, security_headers, counted]
        return [*own, *self.config.middleware, checked, authenticated, answer_options, formed, lifted]

    def metrics(self) -> Metrics | None:
        """Return the metrics of the lifespan that runs; None outside of one."""
        return self._services.metrics if self._services is not None else None

    def _facts(self, services: Services) -> ServiceFacts:
        return ServiceFacts(
            version=VERSION,
            default_model=services.settings.models.default,
            documentation=self._documentation,
            limits=services.settings.limits,
            keys=bool(self._keys),
            device=lambda: services.device_names,
            not_ready_because=services.not_ready_because,
            failed=lambda: services.failed,
            lost_because=lambda: services.lost_because,
        )

    def _provide(self, part: Callable[[Services], Any]) -> Provide:
        """Make a dependency that is looked up in the running lifespan's services at each request."""

        def provide() -> Any:
            return part(self.services)

        return Provide(provide, sync_to_thread=False)

    def _provide_state(self, dialect_name: str) -> Provide:
        return Provide(lambda: self._dialect_states[dialect_name], sync_to_thread=False)


def _bodies(settings: Settings) -> IncomingBodies:
    server = settings.server
    limits = BodyLimits(
        timeout_s=server.body_timeout_s,
        min_bytes_per_s=server.min_bytes_per_s,
        max_nbytes=settings.limits.max_buffered_bytes,
    )
    return IncomingBodies(limits, AddressRules.of(server.trusted_proxies))


def _generation(services: Services) -> GenerationService:
    return GenerationService(
        generator=services.generator,
        jobs=services.job_store,
        dry_runs=services.dry_runs,
        upscaler=services.upscaler,
        upscale_calls=services.upscale_calls,
        admission=Admission(quotas=services.quotas, generator=services.generator),
        webhooks=services.webhook_policy,
    )


def _with_keys(config: OpenAPIConfig) -> OpenAPIConfig:
    """Add the ways to send a key to a copy, because Litestar's default config is one for all applications of the process."""
    config = copy(config)
    stated = config.components if isinstance(config.components, list) else [config.components]
    config.components = [*stated, COMPONENTS]
    return config
