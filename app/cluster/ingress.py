"""An ingress replica: the whole HTTP side, jobs included, whose images are made by workers."""

from functools import partial
from typing import Any

from litestar import Litestar

from ..asgi import create_app
from ..bootstrap import Requests, build
from ..domain.errors import EngineFailed
from ..infra.telemetry.metrics.metrics import Metrics
from ..lifecycle import Services
from ..settings import Settings
from ..web.http.route_groups import ROUTE_GROUPS
from .remote import CallsWorkers, RemoteDryRuns, RemoteImageGenerator, RemoteImageUpscaler

_ROUTES = ROUTE_GROUPS - {"pool", "residency"}
"""Without those that show and move what this process has in memory: it has nothing there."""


def ingress_app(settings: Settings, workers: CallsWorkers) -> Litestar:
    """Build the application of an ingress replica."""
    return create_app(settings, build_services=partial(_services, workers), routes=_ROUTES)


def _services(workers: CallsWorkers, settings: Settings, **options: Any) -> Services:
    def on_workers(local: Requests, metrics: Metrics) -> Requests:
        return Requests(
            writer=local.writer,
            generator=RemoteImageGenerator(workers, local.generator, on_generated=metrics.on_generated),
            upscaler=RemoteImageUpscaler(workers, on_upscaled=metrics.on_upscaled),
            dry_runs=RemoteDryRuns(workers),
        )

    return build(settings, engine=_NoEngine(), elsewhere=on_workers, **options)


class _NoEngine:
    """Implements `Engine` and its ports for a process that loads no models and makes no images."""

    name = "cluster"
    shares_host_memory = True
    failure = None

    @property
    def loader(self) -> Any:
        return self

    @property
    def device(self) -> Any:
        return self

    @property
    def renderer(self) -> Any:
        return self

    def memory_nbytes(self) -> int:
        return 0

    def weights_nbytes(self, _spec: object) -> int:
        return 0

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def unload(self, *_: object, **__: object) -> None:
        """Nothing to unload."""

    async def fetch(self, *_: object) -> None:
        """Refuse, as every other work.

        Raises:
            EngineFailed: the workers do it.
        """
        raise EngineFailed("This process has no models in memory: the workers of the cluster have.")

    load = load_adapter = load_vae = generate = fetch
