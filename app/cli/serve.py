"""`litestar-diffusion serve`."""

import errno
import socket
from pathlib import Path

import click
import msgspec

from ..settings import Settings, load_settings
from .options import settings_option

_GRACE_BEYOND_S = 5
"""The server waits a little longer for answers than the dispatcher does for images."""


@click.command()
@click.option("--host", help="Address to listen on; overrides the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one. Overrides the settings.")
@settings_option
def serve(host: str | None, port: int | None, settings_file: Path | None) -> None:
    """Run the HTTP server until Ctrl+C."""
    settings = _overridden(load_settings(settings_file), host, port)
    import uvicorn  # here, because `--help` need not wait for it

    from ..asgi import create_app

    listening = _bound(settings.server.host, settings.server.port)
    address = listening.getsockname()
    url = f"http://{address[0]}:{address[1]}"
    click.echo(f"Serving on {url}  (documentation: {url}/schema, end with Ctrl+C). Try:", err=True)
    click.echo(
        f"  curl -X POST {url}/generate/{settings.models.default or 'demo'} -H 'accept: image/png' "
        '-d \'{"prompt": "a red circle on a blue background"}\' -o out.png',
        err=True,
    )
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.server.shutdown_grace_s) + _GRACE_BEYOND_S,
    )
    uvicorn.Server(config).run(sockets=[listening])


def _overridden(settings: Settings, host: str | None, port: int | None) -> Settings:
    server = settings.server
    stated = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(server, **stated))


def _bound(host: str, port: int) -> socket.socket:
    """A listening socket, so that a port in use is said before anything is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"Port {port} of {host} is in use. Choose another with --port, or 0 for a free one."
            ) from error
        raise click.ClickException(f"{host}:{port} cannot be listened on: {error.strerror}.") from error
    return listening
