"""The standalone application: the plugin, and the little that only a whole application may have."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from litestar import Litestar
from litestar.types import ASGIApp, Middleware

from .bootstrap import build
from .domain.freed_memory import FreedMemory
from .infra.device.interpreter_turns import shorten_interpreter_turns
from .infra.device.malloc import give_back_memory_of_requests, keep_freed_memory
from .infra.telemetry.logs.loading_bars import LoadingBars
from .infra.telemetry.logs.logging import adopt_library_loggers, configure_logging, for_people
from .infra.telemetry.traces.trace_export import otlp_provider
from .infra.telemetry.traces.trace_ids import trace_ids
from .lifecycle import Services
from .logs import get_logger
from .plugin import DiffusionPlugin
from .plugin_config import DiffusionConfig
from .settings import LogSettings, Settings, load_settings, with_durable_jobs
from .settings_sources import unknown_variables
from .web.documentation import documentation_assets, openapi_config
from .web.http.errors.exception_handlers import exception_handlers
from .web.http.route_groups import ROUTE_GROUPS, RouteGroup
from .web.middleware.access_log import AccessLog
from .web.middleware.framing import framed_once
from .web.middleware.memory_return import MemoryReturn
from .web.middleware.methods import add_head, answer_options
from .web.middleware.metrics import RequestCounter
from .web.middleware.origins.cors import cors_config
from .web.middleware.origins.loopback_only import LoopbackOnly
from .web.middleware.origins.machine_names import machine_names
from .web.middleware.origins.origin_check import OriginCheck
from .web.middleware.origins.origin_rules import OriginRules
from .web.middleware.root_path import RootPath
from .web.middleware.security_headers import security_headers
from .web.middleware.server_spans import name_span, server_spans
from .web.middleware.sliced_answers import sliced_answers
from .web.middleware.vary import note_vary, restore_vary
from .web.redirects import redirects

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_log = get_logger(__name__)
_FLUSH_MS = 2000
"""Time that the last spans get to leave when the application ends."""


def create_app(
    settings: Settings | None = None,
    *,
    build_services: Callable[..., Services] = build,
    routes: Collection[RouteGroup] = ROUTE_GROUPS,
) -> Litestar:
    """Build the application, for `uvicorn litestar_diffusion.asgi:create_app --factory` and `litestar-diffusion serve`.

    Args:
        settings: read from `settings.toml` and the environment when absent; jobs are kept on disk then.
        build_services: makes the services from the settings, as `bootstrap.build` does.
        routes: groups of routes that are mounted.

    Raises:
        InvalidSettings: naming every wrong key.
    """
    settings = settings or with_durable_jobs(load_settings())
    keep_freed_memory()
    shorten_interpreter_turns()
    added = [trace_ids()] if settings.telemetry.traces else []
    configure_logging(settings.log.format, settings.log.level, processors=added)
    _warn_of_unknown_variables()
    provider = otlp_provider() if settings.telemetry.traces else None
    plugin = DiffusionPlugin(
        DiffusionConfig(
            settings=settings,
            page=settings.server.page,
            routes=routes,
            build=partial(_build, build_services, provider=provider),
        )
    )
    app = Litestar(
        plugins=[plugin],
        route_handlers=[documentation_assets(), redirects()],
        openapi_config=openapi_config(settings.server.url, settings.models.default or "demo"),
        middleware=[*_traced(provider), answer_options, note_vary],
        on_shutdown=[] if provider is None else [_flushing(provider)],
        cors_config=cors_config(settings.server.allowed_origins),
        exception_handlers=exception_handlers(),
        logging_config=None,
    )
    add_head(app)
    counted = RequestCounter(_guarded(restore_vary(app.asgi_handler), settings), plugin.metrics)
    # Around the whole application, because middleware of Litestar does not see requests that match no route.
    inner = MemoryReturn(
        sliced_answers(framed_once(security_headers(counted))), FreedMemory(give_back_memory_of_requests)
    )
    app.asgi_handler = AccessLog(inner, log_prompts=settings.log.prompts)
    app.asgi_handler = RootPath(app.asgi_handler, settings.server.root_path)
    return app


def _guarded(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Refuse foreign pages and names, and, without keys, other machines."""
    server = settings.server
    hosts = (*server.allowed_hosts, *machine_names())
    checked = OriginCheck(app, OriginRules(allowed_origins=server.allowed_origins, allowed_hosts=hosts))
    return checked if settings.keys or server.insecure else LoopbackOnly(checked)


def _traced(provider: "TracerProvider | None") -> list[Middleware]:
    return [] if provider is None else [server_spans(provider), name_span]


def _flushing(provider: "TracerProvider") -> Callable[[], Awaitable[None]]:
    async def flush() -> None:
        await asyncio.to_thread(provider.force_flush, _FLUSH_MS)

    return flush


def _build(
    build_services: Callable[..., Services], settings: Settings, provider: "TracerProvider | None" = None
) -> Services:
    services = build_services(settings, on_loading=_loading_shown(settings.log), tracer_provider=provider)
    # Libraries install log handlers of their own when they are imported, which the engine does as it starts.
    services.on_engine_started = adopt_library_loggers
    return services


def _loading_shown(log: LogSettings) -> LoadingBars | None:
    """Return live bars for a person at a terminal; None for a log that a program reads, or that has no progress."""
    at_a_terminal = for_people(log.format, sys.stderr) and sys.stderr.isatty()
    return LoadingBars() if at_a_terminal and log.level in ("debug", "info") else None


def _warn_of_unknown_variables() -> None:
    """Log the variables that look like settings but are none; they may also belong to the platform, as in Kubernetes."""
    for name, meant in unknown_variables(os.environ).items():
        hint = f"Did you mean {meant}?" if meant else "Settings begin with LITESTAR_DIFFUSION__."
        _log.warning("unknown_variable", name=name, hint=hint)
