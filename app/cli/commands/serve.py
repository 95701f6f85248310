"""`litestar-diffusion serve`."""

import shlex
import socket
from pathlib import Path
from typing import Any

import click
import msgspec

from ...settings import Settings, load_settings, with_durable_jobs
from ..failures import Failure
from ..listening import is_loopback, listen
from ..options import settings_option


@click.command()
@click.option("--host", help="Address to listen on, such as 0.0.0.0 or ::1. Overrides the settings.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0 takes a free one. Overrides the settings.")
@click.option("--insecure", is_flag=True, help="Listen on other addresses than loopback without keys.")
@click.option(
    "--ray", "on_ray", is_flag=True, help="Run workers with a device each through Ray Serve (docs/scaling.md)."
)
@settings_option
def serve(host: str | None, port: int | None, insecure: bool, on_ray: bool, settings_file: Path | None) -> None:
    """Run the HTTP server until Ctrl+C.

    Other machines reach it with --host 0.0.0.0, which needs a key: `litestar-diffusion keys add NAME`.
    """
    settings = _overridden(
        with_durable_jobs(load_settings(settings_file), settings_file), host, port, insecure=insecure
    )
    _refuse_if_open(settings)
    if on_ray:
        _run_on_ray(settings)
        return
    with listen(settings.server.host, settings.server.port) as listening:
        bound = _overridden(
            settings, *listening.getsockname()[:2], insecure=insecure
        )  # the port is known now, also if it was 0
        _greet(bound.server.url, bound.models.default or "demo")
        _run(bound, listening)


def _run(settings: Settings, listening: socket.socket) -> None:
    from ...asgi import create_app  # here, because `--help` need not wait for it
    from ...infra.telemetry.logs.logging import flush_logs
    from ...serving.server import make_server

    server = make_server(create_app(settings), settings, flush_logs)
    server.run(sockets=[listening])
    if not server.started:
        raise Failure("The server could not start; the log says why.")


def _run_on_ray(settings: Settings) -> None:
    try:
        from ...cluster.serving import serve_on_ray
    except ModuleNotFoundError as error:
        raise Failure(f"{error.name} is missing. Install litestar-diffusion[ray].") from error
    _greet(settings.server.url, settings.models.default or "demo")
    serve_on_ray(settings)


def _refuse_if_open(settings: Settings) -> None:
    """End before anything is loaded if other machines could reach a server without keys."""
    server = settings.server
    if settings.keys or server.insecure or is_loopback(server.host):
        return
    raise Failure(
        f"{server.host} can be reached from other machines, and the server has no keys. Make one with `litestar-diffusion keys "
        "add NAME`, or, if something before the server authenticates clients, add --insecure (server.insecure = true)."
    )


def _greet(url: str, model: str) -> None:
    click.echo(f"Serving on {url}  (documentation: {url}/schema, end with Ctrl+C). Try:", err=True)
    body = shlex.quote('{"prompt": "a red circle on a blue background"}')
    click.echo(f"  curl -X POST {url}/generate/{model} -H 'accept: image/png' -d {body} -o out.png", err=True)


def _overridden(settings: Settings, host: str | None, port: int | None, *, insecure: bool) -> Settings:
    server = settings.server
    stated: dict[str, Any] = {key: value for key, value in (("host", host), ("port", port)) if value is not None}
    if insecure:
        stated["insecure"] = True
    return msgspec.structs.replace(settings, server=msgspec.structs.replace(server, **stated))
