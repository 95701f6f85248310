"""The standalone application: the plugin, and the little that only a whole application may have."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any

from litestar import Litestar

from .infra.device.malloc import keep_freed_memory
from .infra.telemetry.logging import adopt_library_loggers, configure_logging
from .plugin import DiffusionConfig, DiffusionPlugin
from .settings import ServerSettings, Settings, load_settings
from .web.documentation import documentation_assets, openapi_config
from .web.http.problems import exception_handlers
from .web.middleware.access_log import AccessLog
from .web.middleware.cors import cors_config
from .web.middleware.metrics import RequestCounter
from .web.middleware.origin_check import OriginCheck
from .web.middleware.origins import OriginRules


def create_app(settings: Settings | None = None) -> Litestar:
    """The application, for `uvicorn litestar_diffusion.asgi:create_app --factory` and for `litestar-diffusion serve`.

    Args:
        settings: read from `settings.toml` and the environment when absent.

    Raises:
        InvalidSettings: naming every wrong key.
    """
    settings = settings or load_settings()
    keep_freed_memory()
    configure_logging(settings.log.format, settings.log.level)
    plugin = DiffusionPlugin(DiffusionConfig(settings=settings))
    app = Litestar(
        plugins=[plugin],
        route_handlers=[documentation_assets()],
        openapi_config=openapi_config(reached_at(settings.server), settings.models.default or "demo"),
        cors_config=cors_config(settings.server.allowed_origins),
        exception_handlers=exception_handlers(),
        lifespan=[_ending_on_signal(plugin), _adopting_logs(plugin)],
        logging_config=None,
    )
    rules = OriginRules(allowed_origins=settings.server.allowed_origins, allowed_hosts=settings.server.allowed_hosts)
    counted = RequestCounter(OriginCheck(app.asgi_handler, rules), plugin.services.metrics)
    app.asgi_handler = AccessLog(counted, log_prompts=settings.log.prompts)
    return app


def reached_at(server: ServerSettings) -> str:
    """The URL of a server with these settings, for people on the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104 - compared with, not bound to
    return f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"


def _adopting_logs(plugin: DiffusionPlugin) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """Libraries install log handlers of their own when they are imported, which the engine does in the background."""

    async def adopt() -> None:
        await plugin.services.engine.start()
        adopt_library_loggers()

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        adopting = asyncio.create_task(adopt())
        try:
            yield
        finally:
            adopting.cancel()
            await asyncio.wait([adopting])

    return lifespan


def _ending_on_signal(plugin: DiffusionPlugin) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """On Ctrl+C, stop accepting work at once; otherwise the server would first wait for every request that queues."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        ending: list[asyncio.Task[None]] = []

        def begin() -> None:
            if not ending:
                ending.append(asyncio.create_task(plugin.services.end()))

        restore = _before_handlers(loop, begin)
        try:
            yield
        finally:
            restore()

    return lifespan


def _before_handlers(loop: asyncio.AbstractEventLoop, begin: Callable[[], None]) -> Callable[[], None]:
    """Call `begin` in the loop before the server's own signal handlers run. Does nothing outside the main thread."""
    previous: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(begin)
        handler = previous[number]
        if callable(handler):
            handler(number, frame)

    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            previous[number] = signal.getsignal(number)
            signal.signal(number, handle)
    except ValueError:  # not in the main thread: a test or somebody's own runner
        previous.clear()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    return restore
