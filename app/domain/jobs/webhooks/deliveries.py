"""The port behind which deliveries of webhooks are kept."""

from typing import Protocol

from .webhook import Delivery


class Deliveries(Protocol):
    """Deliveries that were not accepted yet. All methods raise `StorageUnavailable` if the database does not answer."""

    async def take_due(self, now: float, limit: int, lost_at: float) -> list[Delivery]:
        """Return deliveries that are due, and count the attempt; they are due again at `lost_at`."""
        ...

    async def delivered(self, delivery_id: str) -> None:
        """Note that a delivery was accepted."""
        ...

    async def failed(self, delivery_id: str, problem: str, due: float | None) -> None:
        """Note a failed attempt.

        Args:
            delivery_id: of the delivery.
            problem: why it failed.
            due: time of the next attempt; None if there is none.
        """
        ...
