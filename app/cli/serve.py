"""`litestar-diffusion serve`."""

import asyncio
import math
import shlex
import socket
from pathlib import Path

import click
import msgspec

from ..settings import Settings, load_settings
from .failures import Failure
from .listening import listen
from .options import settings_option

_GRACE_BEYOND_S = 5
"""The server waits a little longer for answers than the dispatcher does for images."""


@click.command()
@click.option("--host", help="Address to listen on, such as 0.0.0.0 or ::1. Overrides the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one. Overrides the settings.")
@settings_option
def serve(host: str | None, port: int | None, settings_file: Path | None) -> None:
    """Run the HTTP server until Ctrl+C."""
    settings = _overridden(load_settings(settings_file), host, port)
    with listen(settings.server.host, settings.server.port) as listening:
        bound = _overridden(settings, *listening.getsockname()[:2])  # the port is known now, also if it was 0
        _greet(bound.server.url, bound.models.default or "demo")
        _run(bound, listening)


def _run(settings: Settings, listening: socket.socket) -> None:
    import uvicorn  # here, because `--help` need not wait for it

    from ..asgi import create_app
    from ..plugin import DiffusionPlugin

    app = create_app(settings)
    plugin = app.plugins.get(DiffusionPlugin)

    class Server(uvicorn.Server):
        """Ends waiting requests when it is told to end; uvicorn alone would first wait until each of them has run."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            ending = asyncio.create_task(plugin.end())
            await super().shutdown(sockets)
            await ending

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.server.shutdown_grace_s) + _GRACE_BEYOND_S,
    )
    server = Server(config)
    server.run(sockets=[listening])
    if not server.started:
        raise Failure("The server could not start; the log says why.")


def _greet(url: str, model: str) -> None:
    click.echo(f"Serving on {url}  (documentation: {url}/schema, end with Ctrl+C). Try:", err=True)
    body = shlex.quote('{"prompt": "a red circle on a blue background"}')
    click.echo(f"  curl -X POST {url}/generate/{model} -H 'accept: image/png' -d {body} -o out.png", err=True)


def _overridden(settings: Settings, host: str | None, port: int | None) -> Settings:
    server = settings.server
    stated = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(server, **stated))
