"""What there is at the moment, for Prometheus; asked for at each scrape, so that it cannot drift from the books."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ....domain.placement.dispatcher import MachineDispatcher
from ....domain.placement.model_pool import ModelPool


class Gauges(Collector):
    """Reads the pool's books and the dispatcher's queue."""

    def __init__(self, prefix: str, pool: ModelPool, dispatcher: MachineDispatcher) -> None:
        self._prefix = prefix
        self._pool = pool
        self._dispatcher = dispatcher

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read the current values."""
        stats = self._pool.stats()
        resident = self._gauge("resident_bytes", "Bytes of weights, by residency.", ("where",))
        resident.add_metric(("host",), stats.host_nbytes)
        resident.add_metric(("device",), stats.device_nbytes)
        yield resident
        yield self._gauge("reserved_bytes", "Bytes set aside for running requests.", value=stats.reserved_nbytes)
        yield self._gauge("leases_held", "Requests that hold a model.", value=stats.leases)
        yield from self._devices()
        yield self._gauge("queue_depth", "Requests for images that wait or run.", value=self._dispatcher.depth)

    def _devices(self) -> Iterator[GaugeMetricFamily]:
        """Read the current values of each device."""
        device = ("device",)
        serves = self._gauge("device_serves", "1 while a device makes images, 0 if it was taken out.", device)
        requests = self._gauge("device_requests", "Requests that a device was given and that have not ended.", device)
        weights = self._gauge("device_weights_bytes", "Bytes of weights on a device.", device)
        reserved = self._gauge("device_reserved_bytes", "Bytes set aside for the running requests of a device.", device)
        for each in self._pool.devices():
            serves.add_metric((each.name,), each.out_because is None)
            requests.add_metric((each.name,), each.depth)
            weights.add_metric((each.name,), each.report.stats.device_nbytes)
            reserved.add_metric((each.name,), each.report.stats.reserved_nbytes)
        yield from (serves, requests, weights, reserved)

    def _gauge(
        self, name: str, help_text: str, labels: tuple[str, ...] = (), value: float | None = None
    ) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"{self._prefix}_{name}", help_text, value=value, labels=labels or None)
