"""Counts of loads, moves and evictions."""

from prometheus_client import CollectorRegistry

from ....domain.memory.events import (
    AssetLoaded,
    AssetLoadFailed,
    AssetOffloaded,
    AssetPlaced,
    AssetUnloaded,
    LeaseGranted,
    PoolEvent,
)
from ....domain.models.assets import AssetKey
from ....domain.models.spec import HEAT
from .instruments import counter, seconds


class PoolMetrics:
    """Counts what the pool does with models, and with what is added to them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._leases = counter(
            registry,
            "leases",
            "Requests that got their model, by its residency before: hot, warm or cold.",
            "model",
            "found",
        )
        self._models = _Models(registry)
        self._additions = _Additions(registry)
        self._evictions = counter(
            registry,
            "evictions",
            "Weights that left the device (offload) or memory altogether (unload).",
            "kind",
            "reason",
        )
        self._moved = counter(registry, "moved_bytes", "Bytes of weights that were moved.", "direction")

    def on_event(self, event: PoolEvent) -> None:
        """Count what the pool did."""
        match event:
            case LeaseGranted(model=model, found=found):
                self._leases.labels(model, HEAT[found]).inc()
            case AssetLoaded(asset=asset, nbytes=nbytes, seconds=took_s):
                self._count_load(asset, took_s)
                self._moved.labels("disk_to_host").inc(nbytes)
            case AssetLoadFailed(asset=AssetKey("model", name), code=code):
                self._models.failures.labels(name, code).inc()
            case AssetLoadFailed(asset=asset, code=code):
                self._additions.failures.labels(asset.kind, asset.name, code).inc()
            case AssetPlaced(nbytes=nbytes):
                self._moved.labels("host_to_device").inc(nbytes)
            case AssetOffloaded(reason=reason):
                self._evictions.labels("offload", reason.cause.value).inc()
            case AssetUnloaded(reason=reason):
                self._evictions.labels("unload", reason.cause.value).inc()
            case _:
                pass

    def _count_load(self, asset: AssetKey, took_s: float) -> None:
        if asset.kind == "model":
            self._models.loads.labels(asset.name).inc()
            self._models.seconds.labels(asset.name).observe(took_s)
        else:
            self._additions.loads.labels(asset.kind, asset.name).inc()


class _Models:
    """Loads of models."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loads = counter(registry, "loads", "Loads from disk.", "model")
        self.failures = counter(registry, "load_failures", "Loads and downloads that failed.", "model", "code")
        self.seconds = seconds(registry, "load_seconds", "Seconds of loads from disk, downloads included.", "model")


class _Additions:
    """Loads of what is added to models."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.loads = counter(
            registry,
            "addition_loads",
            "Loads from disk of what is added to models: adapters and VAEs.",
            "kind",
            "name",
        )
        self.failures = counter(
            registry, "addition_load_failures", "Loads of adapters and VAEs that failed.", "kind", "name", "code"
        )
