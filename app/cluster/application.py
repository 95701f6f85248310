"""The Ray Serve application: a deployment of ingress replicas before a deployment of workers."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy

from ..settings import ClusterSettings, Settings, load_settings, with_durable_jobs
from .messages import Call, Message
from .worker import Worker
from .worker_settings import settings_of_workers

if TYPE_CHECKING:
    from ray.serve import Application

WORKERS = "Workers"
INGRESS = "Ingress"
_MAX_ONGOING = 100_000
"""Calls that a worker takes at once: its own queue has the limits, and is fair."""
_HEALTH_S = 5.0


def settings_of(arguments: Mapping[str, str]) -> Settings:
    """Read the settings, of the file that the arguments name or of the usual one."""
    file = Path(arguments["settings"]) if "settings" in arguments else None
    return with_durable_jobs(load_settings(file), file)


def application(settings: Settings) -> "Application":
    """Build the application. Each process imports this package anew and receives the settings."""
    cluster = settings.cluster
    deployment: Any = serve.deployment  # the overloads of Serve are not typed for our use
    workers = deployment(
        _worker_class(cluster.max_models_per_worker),
        name=WORKERS,
        max_ongoing_requests=_MAX_ONGOING,
        ray_actor_options={"num_cpus": cluster.cpus_per_worker, "num_gpus": cluster.gpus_per_worker},
        health_check_period_s=_HEALTH_S,
        graceful_shutdown_timeout_s=settings.server.shutdown_grace_s + _HEALTH_S,
        **_replicas(cluster),
    )
    ingress = deployment(
        _ingress_class(settings),
        name=INGRESS,
        num_replicas=cluster.ingress_replicas,
        max_ongoing_requests=_MAX_ONGOING,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=settings.server.shutdown_grace_s + _HEALTH_S,
    )
    return ingress.bind(workers.bind(settings_of_workers(settings)))


def _replicas(cluster: ClusterSettings) -> dict[str, Any]:
    from .autoscaling import ByQueue

    if cluster.max_workers <= cluster.workers:
        return {"num_replicas": cluster.workers}
    policy = AutoscalingPolicy(policy_function=ByQueue, policy_kwargs={"target_s": cluster.target_wait_s})
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=cluster.workers, max_replicas=cluster.max_workers, policy=policy
        )
    }


def _ingress_class(settings: Settings) -> Any:
    def ingress() -> Any:
        from .ingress import ingress_app
        from .workers import Workers

        name = serve.get_replica_context().app_name
        return ingress_app(settings, Workers(lambda: serve.get_deployment_handle(WORKERS, app_name=name)))

    wrapped: Any = serve.ingress(ingress)
    return wrapped()


def _worker_class(max_models: int) -> Any:
    class Replica:
        """A `Worker` as Serve wants it: multiplexing tells the router which models were asked for here."""

        def __init__(self, settings: Settings) -> None:
            self._worker = Worker(settings)

        async def answer(self, call: Call) -> AsyncIterator[Message]:
            """Answer a call; see `Worker.answer`."""
            await self._note_model(serve.get_multiplexed_model_id())
            async for message in self._worker.answer(call):
                yield message

        @serve.multiplexed(max_num_models_per_replica=max_models)
        async def _note_model(self, name: str) -> str:
            # Nothing is loaded here: the dispatcher does it in the order of its queue, and tells its progress.
            return name

        async def check_health(self) -> None:
            await self._worker.started()
            self._worker.check_health()

        async def record_autoscaling_stats(self) -> dict[str, float]:
            return self._worker.record_autoscaling_stats()

        async def __del__(self) -> None:
            await self._worker.stop()

    return Replica
