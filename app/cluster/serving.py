"""`litestar-diffusion serve --ray`: starts Ray here, or joins the cluster of this machine, and serves until Ctrl+C."""

import os
import signal

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from ..settings import Settings
from .application import application

NAME = "litestar-diffusion"
_KEEP_ALIVE_S = 75


def serve_on_ray(settings: Settings) -> None:
    """Serve, until the process is told to end."""
    start(settings)
    # Serve ends in order by KeyboardInterrupt alone. After the start, because Ray's own handler aborts the process 3 s later.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        serve.run(application(settings), name=NAME, route_prefix="/", blocking=True)
    finally:
        try:
            # Lets what runs end and be answered; the shutdown alone would end the proxies, and their connections, first.
            serve.delete(NAME)
        finally:
            serve.shutdown()
            ray.shutdown()


def start(settings: Settings) -> None:
    """Start Ray and the HTTP proxy of Serve, which listens where the settings say."""
    # Ray would send statistics of its use elsewhere; this server asks no other host unless told to.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(include_dashboard=False, log_to_driver=True, ignore_reinit_error=True)
    server = settings.server
    serve.start(http_options=HTTPOptions(host=server.host, port=server.port, keep_alive_timeout_s=_KEEP_ALIVE_S))
