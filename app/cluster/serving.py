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
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Serve ends in order by KeyboardInterrupt alone
    start(settings)
    try:
        serve.run(application(settings), name=NAME, route_prefix="/", blocking=True)
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
