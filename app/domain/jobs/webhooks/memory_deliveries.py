"""Deliveries of webhooks in the memory of this process."""

from dataclasses import replace

from .webhook import Delivery


class MemoryDeliveries:
    """Implements `Deliveries` in memory. Event loop only."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[float, Delivery]] = {}

    def add(self, delivery: Delivery) -> None:
        """Keep a delivery, due at once; no clock is asked."""
        self._due[delivery.id] = 0.0, delivery

    async def take_due(self, now: float, limit: int, lost_at: float) -> list[Delivery]:
        """Take what is due; see `Deliveries.take_due`."""
        found = sorted((due, delivery.created, delivery.id) for due, delivery in self._due.values() if due <= now)
        taken = [replace(self._due[key][1], attempts=self._due[key][1].attempts + 1) for *_, key in found[:limit]]
        self._due.update({delivery.id: (lost_at, delivery) for delivery in taken})
        return taken

    async def delivered(self, delivery_id: str) -> None:
        """Forget a delivery; see `Deliveries.delivered`."""
        self._due.pop(delivery_id, None)

    async def failed(self, delivery_id: str, problem: str, due: float | None) -> None:  # noqa: ARG002 - the port's signature
        """Note a failure; see `Deliveries.failed`."""
        _, delivery = self._due.pop(delivery_id)
        if due is not None:
            self._due[delivery_id] = due, delivery
